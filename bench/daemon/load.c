/*
 * Load on a lock daemon that speaks libvirt's lock protocol (virtlockd, holdfastd).
 *
 *   load SOCKET LOCKSPACE CONNECTIONS SECONDS pairs|cycles [FIRST]
 *
 * pairs:  each connection registers once, then acquires and releases its own resource again and again.
 * cycles: connect, register, acquire, release and close, again and again, CONNECTIONS at a time. The owner is another
 *         process, as it is when libvirt asks: a server may end an owner that closes its own connection.
 * hold:   each connection acquires its resource; prints "holding" and waits for its standard input to end.
 *
 * LOCKSPACE is a directory, or "" for files named by path: then the resources are FIRST/0, FIRST/1, ... and exist.
 * What happens in the first fifth of a second does not count; SECONDS follow it. Prints one line of JSON: pairs a second, acquire latency in microseconds, and the processor time of this
 * program as a share of the time, which shows whether it was the bottleneck.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { REGISTER = 1, ACQUIRE = 6, RELEASE = 7, CREATE_LOCKSPACE = 8 };
enum { AUTOCREATE = 2 };
enum { latencies_max = 4 << 20 };

struct connection {
  int fd;
  int procedure;
  uint32_t serial;
  double asked;
  char name[512];
  unsigned char got[4096];
  size_t bytes;
};

static const char *path, *lockspace, *first;
static int count;
static pid_t owner;
static struct connection *connections;
static float *latencies;
static size_t latency_count;
/* `all` counts those of the warm-up as well. */
static uint64_t pairs, all;
static const double warm_up = 0.2;
static struct rusage before;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static unsigned char *put(unsigned char *at, uint32_t value) {
  value = htonl(value);
  memcpy(at, &value, 4);
  return at + 4;
}

static unsigned char *put_string(unsigned char *at, const char *text) {
  size_t length = strlen(text);
  at = put(at, length);
  memset(at, 0, (length + 3) / 4 * 4);
  memcpy(at, text, length);
  return at + (length + 3) / 4 * 4;
}

static void call(struct connection *c, int procedure) {
  unsigned char frame[2048], *at = frame + 4;
  at = put(at, 0xEA7BEEF);
  at = put(at, 1);
  at = put(at, procedure);
  at = put(at, 0);
  at = put(at, c->serial++);
  at = put(at, 0);
  if (procedure == REGISTER) {
    memset(at, 0, 16);
    uint32_t index = c - connections;
    memcpy(at, &index, 4);
    at[15] = 1;
    at = put_string(at + 16, "load");
    at = put(at, index + 1);
    at = put(at, owner);
    at = put(at, 0);
  } else if (procedure == CREATE_LOCKSPACE) {
    at = put_string(at, lockspace);
  } else {
    at = put_string(at, lockspace);
    at = put_string(at, c->name);
    at = put(at, *lockspace && procedure == ACQUIRE ? AUTOCREATE : 0);
  }
  put(frame, at - frame);
  c->procedure = procedure;
  c->asked = now();
  if (send(c->fd, frame, at - frame, MSG_NOSIGNAL) != at - frame) fail("send");
}

static void join(struct connection *c, int epoll) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  for (int tries = 0; connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0; tries++) {
    if (errno != EAGAIN || tries > 1000) fail("connect");
    usleep(1000);
  }
  c->bytes = 0;
  c->serial = 1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event) != 0) fail("epoll_ctl");
}

static uint32_t get(const unsigned char *at) {
  uint32_t value;
  memcpy(&value, at, 4);
  return ntohl(value);
}

/* Whether a whole reply is there; ends the program if it is an error. */
static int answered(struct connection *c) {
  ssize_t n = recv(c->fd, c->got + c->bytes, sizeof c->got - c->bytes, 0);
  if (n <= 0) fail("recv");
  c->bytes += n;
  if (c->bytes < 4 || c->bytes < get(c->got)) return 0;
  if (get(c->got + 24) != 0) {
    uint32_t length = get(c->got + 40);
    fprintf(stderr, "load: procedure %d: error %u: %.*s\n", c->procedure, get(c->got + 28),
            (int)(length < 1000 ? length : 1000), c->got + 44);
    exit(1);
  }
  c->bytes = 0;
  return 1;
}

static int by_value(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static double processor_time(const struct rusage *usage) {
  return usage->ru_utime.tv_sec + usage->ru_stime.tv_sec + (usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: load SOCKET LOCKSPACE CONNECTIONS SECONDS pairs|cycles|hold [FIRST]\n");
    return 64;
  }
  path = argv[1];
  lockspace = argv[2];
  count = atoi(argv[3]);
  double seconds = atof(argv[4]);
  int cycling = strcmp(argv[5], "cycles") == 0, holding = strcmp(argv[5], "hold") == 0;
  first = argc > 6 ? argv[6] : "";
  owner = getpid();
  if (cycling && (owner = fork()) == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  connections = calloc(count, sizeof *connections);
  latencies = malloc(latencies_max * sizeof *latencies);
  int epoll = epoll_create1(EPOLL_CLOEXEC);

  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  struct epoll_event events[256];
  if (*lockspace) {
    struct connection *c = connections;
    join(c, epoll);
    call(c, CREATE_LOCKSPACE);
    do epoll_wait(epoll, events, 256, -1);
    while (!answered(c));
    close(c->fd);
  }
  for (int i = 0; i < count; i++) {
    char *name = connections[i].name;
    if (*lockspace) snprintf(name, sizeof connections[i].name, "load-%d", i);
    else snprintf(name, sizeof connections[i].name, "%s/%d", first, i);
    join(&connections[i], epoll);
    call(&connections[i], REGISTER);
  }
  double start = now();
  int warm = holding;
  int held = 0, open = count;
  /* A cycle that has begun is finished: its owner lives on. */
  while (holding ? held < count : cycling ? open > 0 : !warm || now() < start + seconds) {
    int ready = epoll_wait(epoll, events, 256, 1000);
    /* That all connect at once is nothing that is measured. */
    if (!warm && now() >= start + warm_up) {
      warm = 1;
      start = now();
      getrusage(RUSAGE_SELF, &before);
      latency_count = pairs = 0;
    }
    for (int i = 0; i < ready; i++) {
      struct connection *c = events[i].data.ptr;
      if (!answered(c)) continue;
      switch (c->procedure) {
        case REGISTER:
          call(c, ACQUIRE);
          break;
        case ACQUIRE:
          if (latency_count < latencies_max) latencies[latency_count++] = (now() - c->asked) * 1e6;
          if (holding) held++;
          else call(c, RELEASE);
          break;
        default:
          pairs++;
          all++;
          if (!cycling) {
            call(c, ACQUIRE);
            break;
          }
          close(c->fd);
          if (warm && now() >= start + seconds) {
            open--;
            break;
          }
          join(c, epoll);
          call(c, REGISTER);
      }
    }
  }
  double took = now() - start;
  if (cycling) kill(owner, SIGKILL);
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  double processor = processor_time(&usage) - processor_time(&before);
  qsort(latencies, latency_count, sizeof *latencies, by_value);
  printf("{\"connections\":%d,\"seconds\":%.3f,\"rate\":%.1f,\"p50\":%.1f,\"p99\":%.1f,\"load\":%.3f,\"all\":%llu}\n", count, took,
         (holding ? (double)held : (double)pairs) / took, latency_count ? latencies[latency_count / 2] : 0,
         latency_count ? latencies[latency_count * 99 / 100] : 0, processor / took, (unsigned long long)all);
  fflush(stdout);
  if (holding) {
    char byte;
    while (read(0, &byte, 1) > 0) continue;
  }
  return 0;
}
