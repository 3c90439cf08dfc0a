/** What the service manager is told: datagrams, as sd_notify(3) sends them. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { ServiceManager } from '../../src/daemon/notify-service-manager.js';
import { sendDatagram } from '../../src/system/datagram.js';
import { commandFolder, start } from '../beds/command.js';
import { until } from '../beds/until.js';
import { needs } from '../needs.js';

const folder = commandFolder();

/** Node has no datagrams of unix sockets. The first argument is a path, or `@` and an abstract name. */
const receiver = `
use strict; use Socket; $| = 1;
my $name = shift; (my $address = $name) =~ s/^@/\\0/;
socket my $socket, PF_UNIX, SOCK_DGRAM, 0 or die $!;
bind $socket, pack_sockaddr_un($address) or die $!;
print "ready\\n";
while (1) { recv $socket, my $said, 4096, 0; $said =~ s/\\n/|/g; print "$said\\n"; }
`;

test('ready with a status, and alive as often as it is asked to be', async (t) => {
  if (!needs(t, 'perl')) return;
  for (const name of [join(folder, 'notify'), `@holdfast-test-${process.pid}`]) {
    const running = start('perl', ['-e', receiver, name]);
    await running.says('ready');
    const manager = new ServiceManager({ NOTIFY_SOCKET: name, WATCHDOG_USEC: '40000' });
    manager.ready('2 locks\nof libvirt');
    // Its timer keeps no process alive.
    const alive = setInterval(() => undefined, 10);
    await until(
      () => running.stdout.split('WATCHDOG=1').length > 3,
      () => running.stdout,
    );
    clearInterval(alive);
    assert.match(running.stdout, /^ready\nREADY=1\|STATUS=2 locks of libvirt\n/);
    running.child.kill('SIGKILL');
    await running.exited;
  }
});

test('nobody to tell, or nobody listening, stops nothing', () => {
  new ServiceManager({}).ready('serving');
  new ServiceManager({ NOTIFY_SOCKET: join(folder, 'nobody') }).status('serving');
  assert.throws(() => sendDatagram(join(folder, 'nobody'), 'x'), { code: 'ENOENT' });
  assert.throws(() => sendDatagram(`/${'x'.repeat(200)}`, 'x'), RangeError);
});
