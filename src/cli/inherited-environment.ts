/** Puts back the variables that the shell of scripts/launcher.sh could not hand on under their own names. */
export function restoreEnvironment(env: NodeJS.ProcessEnv = process.env): void {
  const encoded = env['HOLDFAST_ENVIRON'];
  if (encoded === undefined) return;
  delete env['HOLDFAST_ENVIRON'];
  for (const entry of Buffer.from(encoded, 'base64').toString('utf8').split('\0')) {
    // As getenv(3): the first `=` ends the name.
    const equals = entry.indexOf('=');
    if (equals > 0) env[entry.slice(0, equals)] = entry.slice(equals + 1);
  }
}
