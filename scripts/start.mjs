/** `npm start`: sets everything up, then shows what Holdfast is for. */
import { build, installDependencies } from './set-up.mjs';

installDependencies();
build();
await import('./demo.mjs');
