/** The reporter of `npm test`: one line a test, failures in full, skips with their reasons, the slowest files, and a closing line. */
import { relative, resolve } from 'node:path';
import { inspect } from 'node:util';

const slowestFiles = 10;

const marks = { pass: 'ok  ', fail: 'FAIL', skip: 'skip' };

function outcomeOf(event) {
  if (event.type === 'test:fail') return 'fail';
  return event.data.skip === undefined && event.data.todo === undefined ? 'pass' : 'skip';
}

function errorText(error) {
  const cause = error?.cause ?? error;
  const text = cause instanceof Error ? (cause.stack ?? cause.message) : inspect(cause);
  // Of a whole file: how its process ended.
  if (error?.exitCode === undefined && error?.signal === undefined) return text;
  return `${text}\nexit status ${error.exitCode}, signal ${error.signal}`;
}

function indented(text, by = '      ') {
  return text
    .trimEnd()
    .split('\n')
    .map((line) => `${by}${line}\n`)
    .join('');
}

export default async function* report(source) {
  const counts = { pass: 0, fail: 0, skip: 0 };
  const skips = [];
  const failures = [];
  const files = [];
  let file;
  for await (const event of source) {
    const { data } = event;
    if (event.type === 'test:stderr' || event.type === 'test:stdout') {
      yield indented(data.message, '    | ');
      continue;
    }
    // The end of a file: it has its own name, and its time has what is before and after the tests.
    if (event.type === 'test:complete' && data.nesting === 0 && resolve(data.name) === data.file) {
      files.push({ name: relative(process.cwd(), data.file), ms: data.details.duration_ms });
    }
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const place = data.file === undefined ? '' : relative(process.cwd(), data.file);
    const outcome = outcomeOf(event);
    // A failed suite repeats the failures inside it; one without any failed in a hook. A skipped one has no tests to show.
    const isSuite = data.details?.type === 'suite';
    const isRepeated = outcome === 'pass' || data.details.error?.failureType === 'subtestsFailed';
    if (isSuite && isRepeated) continue;
    counts[outcome] += 1;
    if (place !== file) {
      file = place;
      yield `\n${place}\n`;
    }
    const reason = data.skip ?? data.todo;
    const milliseconds = Math.round(data.details?.duration_ms ?? 0);
    yield `  ${marks[outcome]} ${'  '.repeat(data.nesting)}${data.name} (${milliseconds} ms)\n`;
    if (outcome === 'skip') {
      skips.push(`  ${place}: ${data.name}: ${typeof reason === 'string' ? reason : 'no reason given'}\n`);
    }
    if (outcome === 'fail') {
      const text = indented(errorText(data.details.error));
      failures.push(`  ${place}: ${data.name}\n${text}`);
      yield text;
    }
  }
  if (skips.length > 0) yield `\nSkipped:\n${skips.join('')}`;
  if (failures.length > 0) yield `\nFailed:\n${failures.join('\n')}`;
  if (files.length > 1) {
    const slowest = files.toSorted((one, other) => other.ms - one.ms).slice(0, slowestFiles);
    yield `\nSlowest files:\n${slowest.map(({ name, ms }) => `  ${(ms / 1000).toFixed(1)} s ${name}\n`).join('')}`;
  }
  if (counts.pass + counts.fail + counts.skip === 0) {
    process.exitCode = 1;
    yield '\nno test was run\n';
  }
  yield `\n${counts.pass} passed, ${counts.fail} failed, ${counts.skip} skipped\n`;
}
