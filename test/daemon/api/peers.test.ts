/** Who may do what: as the kernel says who asks. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { accessOf } from '../../../src/daemon/api/peer.js';
import { commandFolder } from '../../beds/command.js';
import { RunningDaemon } from '../../beds/running-daemon.js';
import { until } from '../../beds/until.js';
import { lacks } from '../../needs.js';

const folder = commandFolder();
const [nobody, somegroup] = [65534, 54321];

test('root and the own user may do everything, members of the group may look, nobody else anything', () => {
  const groups = () => [100, somegroup];
  assert.equal(accessOf({ uid: 0 }, undefined, groups, 1000), 'change');
  assert.equal(accessOf({ uid: 1000 }, undefined, groups, 1000), 'change');
  assert.equal(accessOf({ uid: 1001 }, somegroup, groups, 1000), 'look');
  assert.equal(accessOf({ uid: 1001 }, 101, groups, 1000), undefined);
  assert.equal(accessOf({ uid: 1001 }, undefined, groups, 1000), undefined);
});

/** A request by another user, with Node's own client; gives the status, or the error's code. */
function askAs(user: readonly string[], socket: string, method: string, path: string, body: unknown): string {
  const program = `
    const body = process.argv[4];
    const sent = require('node:http').request({
      socketPath: process.argv[1], method: process.argv[2], path: process.argv[3],
      headers: body === '' ? {} : { 'content-type': 'application/json' },
    });
    sent.on('error', (error) => console.log(error.code));
    sent.on('response', (response) => { console.log(response.statusCode); response.destroy(); });
    sent.end(body);`;
  const text = body === undefined ? '' : JSON.stringify(body);
  const { stdout, stderr } = spawnSync(
    'setpriv',
    [...user, process.execPath, '-e', program, socket, method, path, text],
    { encoding: 'utf8', cwd: '/' },
  );
  return stdout.trim() + stderr;
}

describe('other users', { skip: lacks('root', 'setpriv') }, () => {
  const disk = join(folder, 'disk.img');
  const member = [`--reuid=${nobody}`, `--regid=${nobody}`, `--groups=${somegroup}`];
  const stranger = [`--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
  let daemon: RunningDaemon;
  before(async () => {
    chmodSync(folder, 0o755);
    writeFileSync(disk, 'data');
    daemon = await RunningDaemon.start(folder, { args: ['--group', String(somegroup)] });
  });
  after(() => daemon?.stop());

  test('the socket is the group’s, and no other folder can be listed', () => {
    const { mode, gid } = statSync(daemon.apiSocket);
    assert.deepEqual([mode & 0o777, gid], [0o660, somegroup]);
    assert.equal(statSync(daemon.lockdSocket).mode & 0o777, 0o600);
    assert.equal(statSync(join(folder, 'sockets')).mode & 0o777, 0o710);
    assert.equal(statSync(join(folder, 'run')).mode & 0o077, 0);
  });

  test('a member looks, and locks nothing', () => {
    const ask = (method: string, path: string, body?: unknown): string =>
      askAs(member, daemon.apiSocket, method, path, body);
    for (const path of ['/v1/health', '/v1/drivers', '/v1/holds', '/v1/locks', '/metrics', '/openapi.json']) {
      assert.equal(ask('GET', path), '200', path);
    }
    assert.equal(ask('GET', '/v1/events'), '200');
    assert.equal(ask('POST', '/v1/plan', { disks: [{ path: disk }] }), '200');
    assert.equal(ask('POST', '/v1/who', { disks: [{ path: disk }] }), '200');
    assert.equal(ask('POST', '/v1/holds', { disks: [{ path: disk }] }), '403');
    assert.equal(ask('DELETE', '/v1/holds/0123456789ab'), '403');
    for (const change of ['extend', 'shrink', 'suspend', 'resume', 'hand-over']) {
      assert.equal(ask('POST', `/v1/holds/0123456789ab/${change}`, {}), '403', change);
    }
  });

  test('a member makes the daemon ask no libvirt but the host’s own, because an URI can name a program to run', () => {
    const made = join(folder, 'made-by-a-member');
    const program = join(folder, 'program');
    writeFileSync(program, `#!/bin/sh\ntouch ${made}\n`, { mode: 0o755 });
    const connect = `qemu+ext:///system?command=${program}`;
    for (const body of [
      { domain: { connect, name: 'web1' } },
      { domain: [{ name: 'web1' }, { connect, name: 'web2' }] },
      { domain: { name: 'web1' }, connect },
      { xml: '<domain/>', connect: 'test:///default' },
    ]) {
      for (const path of ['/v1/plan', '/v1/who'])
        assert.equal(askAs(member, daemon.apiSocket, 'POST', path, body), '403', JSON.stringify(body));
    }
    assert.equal(existsSync(made), false);
    const local = { domain: { connect: 'qemu:///system', name: 'no such domain' } };
    assert.match(askAs(member, daemon.apiSocket, 'POST', '/v1/plan', local), /^(?:404|503)$/);
  });

  test('a member has so many connections, and others have theirs', async () => {
    const ask = (): string => askAs(member, daemon.apiSocket, 'GET', '/v1/health', undefined);
    const taking = `
      const { connect } = require('node:net');
      let open = 0, told = '';
      for (let index = 0; index < 400; index++) {
        const socket = connect(process.argv[1]);
        socket.on('error', () => undefined).on('connect', () => {
          open++;
          // Those that come first say nothing.
          if (index >= 64 && index < 128) socket.write('GET /v1/health HTTP/1.1\\r\\nhost: h\\r\\n\\r\\n');
        });
        socket.on('data', (bytes) => { told ||= String(bytes); }).on('close', () => {
          if (--open === 64) console.log(JSON.stringify(told));
        });
      }
      setInterval(() => undefined, 1000);`;
    const taker = spawn('setpriv', [...member, process.execPath, '-e', taking, daemon.apiSocket], {
      cwd: '/',
    });
    try {
      let said = '';
      taker.stdout.on('data', (bytes: Buffer) => (said += bytes.toString()));
      await until(() => said.endsWith('\n'), 'the end of the connections that are too many');
      const told = JSON.parse(said) as string;
      assert.match(told, /^HTTP\/1\.1 403 /);
      assert.match(
        told,
        /user 65534 has 64 connections already, and a user who may only look can have no more/,
      );
      assert.equal(ask(), '403');
      assert.equal((await daemon.api.get('/v1/health')).status, 200);
    } finally {
      taker.kill('SIGKILL');
    }
    await until(() => ask() === '200', 'the place of a connection that has ended');
  });

  test('anybody else cannot connect; and if he could, he would be refused', () => {
    assert.equal(askAs(stranger, daemon.apiSocket, 'GET', '/v1/health', undefined), 'EACCES');
    chmodSync(join(folder, 'sockets'), 0o711);
    chmodSync(daemon.apiSocket, 0o666);
    assert.equal(askAs(stranger, daemon.apiSocket, 'GET', '/v1/health', undefined), '403');
    assert.equal(askAs(stranger, daemon.apiSocket, 'GET', '/v1/nothing', undefined), '403');
  });

  test(
    'a process for which a path leads elsewhere is granted nothing',
    { skip: lacks('unshare') },
    async () => {
      const [shown, hidden] = [join(folder, 'shown.img'), join(folder, 'hidden.img')];
      for (const path of [shown, hidden]) writeFileSync(path, 'data');
      const inContainer = (path: string, url: string): string =>
        askAs(
          ['--no-new-privs', 'unshare', '-m', 'sh', '-c', `mount --bind ${hidden} ${shown}; exec "$@"`, 'sh'],
          daemon.apiSocket,
          'POST',
          url,
          { disks: [{ path }] },
        );
      assert.equal(inContainer(shown, '/v1/holds'), '400');
      assert.equal(inContainer(disk, '/v1/holds'), '201', 'what is the same file is granted');
      const { data } = await daemon.api.post('/v1/holds', { disks: [{ path: hidden }], wait: 5_000 });
      assert.equal(inContainer(shown, `/v1/holds/${data.id}/extend`), '400');
      const held = (await daemon.api.get(`/v1/holds/${data.id}`)).data.requests;
      assert.equal(held.length, 1);
      assert.equal((await daemon.api.post('/v1/holds', { disks: [{ path: shown }] })).status, 201);
    },
  );

  test('a daemon of a user: he and root lock; he names processes of his own alone', async () => {
    const own = join(folder, 'own');
    mkdirSync(join(own, 'run'), { recursive: true });
    const theirs = join(own, 'disk.img');
    writeFileSync(theirs, 'data');
    const user = ['setpriv', `--reuid=${nobody}`, `--regid=${nobody}`, '--clear-groups'];
    spawnSync('chown', ['-R', `${nobody}:${nobody}`, own]);
    mkdirSync(join(own, 'sockets'), { mode: 0o700 });
    spawnSync('chown', [`${nobody}:${nobody}`, join(own, 'sockets')]);
    const session = await RunningDaemon.start(own, {
      before: user,
      env: { HOLDFAST_RUNTIME_DIR: join(own, 'run'), XDG_CONFIG_HOME: join(own, 'config'), HOME: own },
    });
    const ask = (body: unknown): string => askAs(stranger, session.apiSocket, 'POST', '/v1/holds', body);
    const guest = { name: 'web1', uuid: '33333333-2222-4333-8444-555555555555' };
    assert.equal(ask({ disks: [{ path: theirs }], owner: { ...guest, pid: process.pid } }), '403');
    assert.equal(ask({ disks: [{ path: theirs }], owner: guest }), '201');
    const root = await session.api.post('/v1/plan', { disks: [{ path: theirs }] });
    assert.equal(root.status, 200, root.text);
    const named = await session.api.post('/v1/holds', {
      disks: [{ path: theirs }],
      owner: { ...guest, pid: session.keeper.pid },
      wait: 5_000,
    });
    assert.equal(named.status, 201, named.text);
    assert.equal(await session.stop(), 0);
  });
});
