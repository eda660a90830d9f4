/* What the socket allows: N bytes as UDP datagrams by UDP_SEGMENT, taken by UDP_GRO, and nothing done with them.
 *
 *   stream_ceiling send HOST PORT DATAGRAM_BYTES TOTAL_BYTES RATE_BYTES_PER_SECOND(0: none)
 *   stream_ceiling receive PORT      prints "bytes seconds" after a second of silence
 *
 * IPv4. Built and run by bench/stream.py: cc -O2 -o stream_ceiling stream_ceiling.c
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#define LARGEST 65000

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int sender(const char *host, int port, int datagram, long long total, double rate) {
    static char buffer[LARGEST];
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 64 << 20;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &to.sin_addr);
    if (connect(fd, (struct sockaddr *)&to, sizeof to)) fail("connect");
    setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    if (setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &datagram, sizeof datagram)) fail("UDP_SEGMENT");
    int piece = LARGEST / datagram * datagram;
    double start = now();
    for (long long sent = 0; sent < total; sent += piece) {
        if (send(fd, buffer, piece, 0) < 0) fail("send");
        while (rate > 0 && now() - start < sent / rate) {
        }
    }
    printf("%lld %.6f\n", total, now() - start);
    return 0;
}

static int receiver(int port) {
    static char buffer[65536];
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 256 << 20, one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct timeval silence = {.tv_sec = 1};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size)) fail("SO_RCVBUFFORCE");
    if (bind(fd, (struct sockaddr *)&at, sizeof at)) fail("bind");
    if (setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one)) fail("UDP_GRO");
    long long bytes = 0;
    double first = 0, last = 0;
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n < 0) break;
        if (!bytes) {
            first = now();
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
        }
        bytes += n;
        last = now();
    }
    printf("%lld %.6f\n", bytes, last - first);
    return 0;
}

int main(int count, char **words) {
    if (count == 7 && !strcmp(words[1], "send"))
        return sender(words[2], atoi(words[3]), atoi(words[4]), atoll(words[5]), atof(words[6]));
    if (count == 3 && !strcmp(words[1], "receive")) return receiver(atoi(words[2]));
    fputs("usage: stream_ceiling send HOST PORT DATAGRAM_BYTES TOTAL_BYTES RATE | receive PORT\n", stderr);
    return 2;
}
