# What is run under locks: it tells the storage that it is there, reads, waits and rewrites. Arguments: the storage's socket,
# the run, the host, how it behaves, how long it waits in milliseconds, and DISK=MODE for each disk.
use strict;
use warnings;
use IO::Socket::UNIX;
use POSIX ();

my ($path, $run, $host, $manner, $wait_ms, @held) = @ARGV;

sub pause { select undef, undef, undef, $_[0] / 1000 }

sub leave_parent {
    exit 0 if fork;
    POSIX::setsid() if $_[0];
}

$SIG{TERM} = 'IGNORE' if $manner eq 'deaf';
leave_parent(0) if $manner eq 'forked';
leave_parent(1), leave_parent(0) if $manner eq 'daemon';
# No lock stands in a descriptor that the command could close.
POSIX::close($_) for $manner eq 'closed' ? 3 .. 255 : ();
$SIG{PIPE} = 'IGNORE';

my %token = ($ENV{HOLDFAST_TOKENS} // '') =~ /"([^"]+)":"([^"]+)"/g;

sub token_of {
    my ($disk) = @_;
    my ($identity) = grep { m{/$disk$} } keys %token;
    return $token{$identity // ''} // 'none';
}

my $socket;

sub ask {
    print $socket join(' ', @_), "\n" or exit 5;
    my $answer = <$socket> // exit 5;
    chomp $answer;
    return $answer;
}

sub enter {
    $socket = IO::Socket::UNIX->new($path) or exit 5;
    $socket->autoflush(1);
    return ask('enter', $run, $host, $$, map { my ($disk) = split /=/; "$_=" . token_of($disk) } @held);
}

# A second process that does nothing, and is there as long.
if ($manner eq 'family' && !fork) {
    enter();
    pause($wait_ms);
    exit 0;
}
my $stale = enter() ne 'ok';
my @writes = map { (split /=/)[0] } grep { /=exclusive$/ } @held;

# Reads, waits and rewrites.
sub rewrite {
    my ($between_ms) = @_;
    my %read = map { $_ => [split / /, ask('read', $_)] } @writes;
    pause($between_ms);
    for my $disk (@writes) {
        my ($counter, $members, $counter2, $members2) = @{$read{$disk}};
        my @who = ($run =~ /(\d+)/, $run, $$);
        $stale = 1 if ask('write', 'checked', $disk, token_of($disk), $counter, $members, @who) ne 'ok';
        ask('write', 'unchecked', $disk, token_of($disk), $counter2, $members2, @who);
    }
}

# One that writes all the time is in the middle of it whenever something happens.
if ($manner eq 'busy') { rewrite(1) for 1 .. $wait_ms }
else { rewrite($wait_ms) }
# 3: the storage did not want it.
exit($stale ? 3 : 0);
