/** Guests of a real libvirt with its own lock daemon: the steps and their locks are those of libvirt. */
import { commandFolder } from '../beds/command.js';
import { libvirtScenarios } from './scenarios.js';

const folder = commandFolder();
libvirtScenarios(folder, { locks: 'virtlockd', indirect: false });
libvirtScenarios(folder, { locks: 'virtlockd', indirect: true });
