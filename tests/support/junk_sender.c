/* junk_sender ADDRESS PORT FILE SIZE BYTES_PER_SECOND SECONDS
 *
 * Sends the datagrams of FILE, SIZE bytes each, over and over, up to 44 of them a message (UDP_SEGMENT), at a rate
 * (0: as fast as it can) for so many seconds. Says how many datagrams it sent. IPv4 alone: a helper of tests. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int count, char **arguments) {
  if (count != 7) return 2;
  int size = atoi(arguments[4]);
  double rate = atof(arguments[5]), seconds = atof(arguments[6]);
  int file = open(arguments[3], O_RDONLY);
  struct stat status;
  if (file < 0 || size < 1 || fstat(file, &status)) return 3;
  long total = status.st_size / size;
  char *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file, 0);
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(arguments[2]))};
  int made = socket(AF_INET, SOCK_DGRAM, 0);
  if (data == MAP_FAILED || total < 1 || inet_pton(AF_INET, arguments[1], &to.sin_addr) != 1 || made < 0) return 4;
  if (connect(made, (struct sockaddr *)&to, sizeof to)) return 5;
  int most = 65000 / size;
  if (most > 44) most = 44;
  if (most > 1 && setsockopt(made, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size)) most = 1;
  long at = 0;
  unsigned long sent = 0;
  double start = now(), end = start + seconds;
  for (double moment = start; moment < end; moment = now()) {
    if (rate > 0 && (double)sent * size > (moment - start) * rate) {
      usleep(200);
      continue;
    }
    long several = total - at < most ? total - at : most;
    ssize_t done = send(made, data + at * size, (size_t)(several * size), 0);
    if (done < 0) {
      if (errno == ECONNREFUSED || errno == ENOBUFS || errno == EAGAIN || errno == EINTR) continue;
      perror("send");
      return 6;
    }
    sent += (unsigned long)several;
    at = at + several >= total ? 0 : at + several;
  }
  printf("%lu\n", sent);
  return 0;
}
