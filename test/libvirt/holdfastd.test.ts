/** Guests of a real libvirt with holdfastd as its lock daemon. */
import { commandFolder } from '../beds/command.js';
import { libvirtScenarios } from './scenarios.js';

const folder = commandFolder();
libvirtScenarios(folder, { locks: 'holdfastd', indirect: false });
libvirtScenarios(folder, { locks: 'holdfastd', indirect: true });
