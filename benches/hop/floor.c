/* The least that a hop over TCP can cost: bytes are read on one side and written on the other, nothing is parsed.
 *
 * usage: floor LISTEN_PORT UPSTREAM_PORT
 *
 * Each accepted connection gets its own to the upstream, on loopback. Not a proxy to use: it waits where it cannot write.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, BUFFER = 128 * 1024, BACKLOG = 4096 };

/* One end of a relayed connection. */
struct end {
  int socket;
  int is_closed;
  struct end *other;
};

static char buffer[BUFFER];
static int poller;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static struct sockaddr_in loopback(const char *port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static int listen_on(const char *port) {
  struct sockaddr_in address = loopback(port);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, BACKLOG)) fail("listen");
  return listener;
}

static void watch(int socket, void *owner) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, socket, &event)) fail("epoll_ctl");
}

static struct end *new_end(int socket) {
  struct end *made = calloc(1, sizeof *made);
  int on = 1;
  if (!made) fail("calloc");
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  made->socket = socket;
  return made;
}

static void accept_all(int listener, const struct sockaddr_in *upstream) {
  int client;
  while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0 || connect(server, (const struct sockaddr *)upstream, sizeof *upstream)) fail("connect");
    struct end *down = new_end(client), *up = new_end(server);
    down->other = up;
    up->other = down;
    watch(client, down);
    watch(server, up);
  }
}

static int send_all(int socket, const char *from, size_t size) {
  while (size > 0) {
    ssize_t sent = send(socket, from, size, MSG_NOSIGNAL);
    if (sent >= 0) {
      from += sent;
      size -= (size_t)sent;
    } else if (errno == EAGAIN) {
      struct pollfd wait = {.fd = socket, .events = POLLOUT};
      poll(&wait, 1, 1000);
    } else {
      return -1;
    }
  }
  return 0;
}

/* Both ends are closed now; they are freed after the batch, which may still name them. */
static size_t close_pair(struct end *one, struct end **dead, size_t count) {
  struct end *other = one->other;
  close(one->socket);
  close(other->socket);
  one->is_closed = other->is_closed = 1;
  dead[count++] = one;
  dead[count++] = other;
  return count;
}

static void relay(int listener, const struct sockaddr_in *upstream) {
  struct epoll_event events[BATCH];
  struct end *dead[2 * BATCH];
  for (;;) {
    int ready = epoll_wait(poller, events, BATCH, -1);
    size_t dead_count = 0;
    for (int i = 0; i < ready; i++) {
      struct end *from = events[i].data.ptr;
      if (!from) {
        accept_all(listener, upstream);
        continue;
      }
      if (from->is_closed) continue;
      ssize_t got = recv(from->socket, buffer, sizeof buffer, MSG_DONTWAIT);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0 || send_all(from->other->socket, buffer, (size_t)got)) dead_count = close_pair(from, dead, dead_count);
    }
    while (dead_count > 0) free(dead[--dead_count]);
  }
}

int main(int count, char **words) {
  if (count != 3) {
    fprintf(stderr, "usage: floor LISTEN_PORT UPSTREAM_PORT\n");
    return 2;
  }
  struct sockaddr_in upstream = loopback(words[2]);
  int listener = listen_on(words[1]);
  poller = epoll_create1(0);
  watch(listener, NULL);
  relay(listener, &upstream);
}
