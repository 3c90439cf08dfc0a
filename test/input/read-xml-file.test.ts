import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { readDomainXmlFile } from '../../src/input/read-input.js';
import { xmlBytesMax } from '../../src/input/xml-tree.js';
import { rejected } from './domain-xml.js';

const folder = mkdtempSync(join(tmpdir(), 'holdfast-input-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const domain = '<domain><name>gä</name></domain>';

describe('a file', () => {
  test('is read, with or without a byte order mark', async () => {
    assert.equal((await readDomainXmlFile(file('a.xml', domain))).owner.name, 'gä');
    const marked = await readDomainXmlFile(
      file('b.xml', `\ufeff<?xml version='1.0' encoding='utf-8'?>${domain}`),
    );
    assert.equal(marked.owner.name, 'gä');
  });

  test('is named in messages', async () => {
    const path = file('c.xml', '<domain>\n');
    assert.equal((await rejected('XML_SYNTAX', readDomainXmlFile(path))).place?.file, path);
  });

  test('that is not there, or no file', async () => {
    const missing = await rejected('NO_SUCH_FILE', readDomainXmlFile(join(folder, 'none.xml')));
    assert.equal(missing.exitCode, 66);
    await rejected('NO_SUCH_FILE', readDomainXmlFile(join(file('d.xml', domain), 'x')));
    assert.match((await rejected('NOT_READABLE', readDomainXmlFile(folder))).message, /directory/);
  });

  test('that may not be read, or cannot', async () => {
    const path = file('e.xml', domain);
    chmodSync(path, 0);
    // Root may read everything, so it is nobody for a moment.
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      assert.match((await rejected('NOT_READABLE', readDomainXmlFile(path))).message, /EACCES/);
    } finally {
      if (root) process.seteuid?.(0);
    }
    // Nothing is mapped at address 0.
    assert.match((await rejected('NOT_READABLE', readDomainXmlFile('/proc/self/mem'))).message, /EIO/);
  });

  test('of the greatest size, and one byte more', async () => {
    const sized = (bytes: number): string => {
      const [start, end] = ['<domain><name>g</name>', '</domain>'];
      return start + ' '.repeat(bytes - start.length - end.length) + end;
    };
    assert.equal((await readDomainXmlFile(file('f.xml', sized(xmlBytesMax)))).owner.name, 'g');
    await rejected('XML_LIMIT', readDomainXmlFile(file('g.xml', sized(xmlBytesMax + 1))), '1:1');
    // Without an end.
    await rejected('XML_LIMIT', readDomainXmlFile('/dev/zero'), '1:1');
  });

  test('that is not UTF-8', async () => {
    await rejected('XML_SYNTAX', readDomainXmlFile(file('h.xml', Buffer.from(domain, 'latin1'))), '1:1');
    await rejected('XML_SYNTAX', readDomainXmlFile(file('i.xml', Buffer.from(domain, 'utf16le'))));
  });
});

describe('standard input', () => {
  const program = `
    import { readDomainXmlFile } from ${JSON.stringify(fileURLToPath(new URL('../../src/input/read-input.ts', import.meta.url)))};
    try { console.log((await readDomainXmlFile('-')).owner.name); }
    catch (error) { console.log(error.message); }`;
  const args = ['--import', 'tsx', '--input-type=module', '-e', program];

  test('is read to its end', () => {
    const input = `<domain><name>g</name>${' '.repeat(300_000)}</domain>`;
    assert.equal(spawnSync(process.execPath, args, { input, encoding: 'utf8' }).stdout, 'g\n');
  });

  test('is called stdin in messages', () => {
    const { stdout } = spawnSync(process.execPath, args, { input: '\n<a/>', encoding: 'utf8' });
    assert.match(stdout, /^stdin:2:1: /);
  });

  test('is waited for, though it comes in pieces', async () => {
    const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    child.stdin.write('<domain><na');
    await new Promise((resolve) => setTimeout(resolve, 50));
    child.stdin.end('me>g</name></domain>');
    await ended;
    assert.equal(printed, 'g\n');
  });
});
