#include "proto/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { HOST_BYTES = 254, IPC_BYTES = sizeof(((struct sockaddr_un *)0)->sun_path) };

static const char tcp_word[] = "tcp://", ipc_word[] = "ipc://";

/* ---- parsing ---- */

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static enum tr_status no_address(const char *address, struct tr_err *err)
{
    return tr_err_set(err, TR_BADARG,
                      "%.120s: expected tcp://HOST:PORT, tcp://[IPV6]:PORT or ipc://PATH",
                      address);
}

/* Cuts "#" and the key off place. */
static enum tr_status take_key(const char *address, struct tr_address *a,
                               struct tr_err *err)
{
    struct tr_digest bytes; /* 32 of them, and so are a key's */
    char *mark = strrchr(a->place, '#');
    if (!mark) return TR_OK;
    if (tr_digest_parse(mark + 1, &bytes, NULL) != TR_OK)
        return tr_err_set(err, TR_BADARG,
                          "%.120s: expected 64 hexadecimal digits behind the #", address);
    memcpy(a->key.byte, bytes.byte, sizeof a->key.byte);
    a->has_key = true;
    *mark = 0;
    return TR_OK;
}

/* 0 to 65535, or -1. */
static int read_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 5 || text[digits]) return -1;
    long port = strtol(text, NULL, 10);
    return port > 65535 ? -1 : (int)port;
}

/* "HOST:PORT" or "[HOST]:PORT" into a->host and a->port. */
static bool split(const char *text, struct tr_address *a)
{
    bool brackets = text[0] == '[';
    const char *colon = strrchr(text, ':');
    const char *from = text + brackets, *to = colon;
    if (!colon) return false;
    if (brackets && (to == from || *--to != ']')) return false;
    if (to <= from || to - from >= HOST_BYTES) return false;
    memcpy(a->host, from, (size_t)(to - from));
    a->host[to - from] = 0;
    a->port = read_port(colon + 1);
    return a->port >= 0;
}

/* What kind of host it is; false for none. */
static bool look_at_host(struct tr_address *a, bool brackets)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    struct in_addr four;
    struct in6_addr six;
    a->six = brackets;
    if (brackets) {
        if (inet_pton(AF_INET6, a->host, &six) != 1) return false;
        a->loopback = IN6_IS_ADDR_LOOPBACK(&six);
        a->every = IN6_IS_ADDR_UNSPECIFIED(&six);
        return true;
    }
    if (strcmp(a->host, "*") == 0) return a->every = true;
    if (inet_pton(AF_INET, a->host, &four) == 1) {
        a->loopback = ntohl(four.s_addr) >> 24 == 127;
        a->every = four.s_addr == 0;
        return true;
    }
    a->named = true;
    return strspn(a->host, letters) == strlen(a->host);
}

enum tr_status tr_address_parse(const char *address, bool keys, struct tr_address *out,
                                struct tr_err *err)
{
    size_t size = strlen(address);
    *out = (struct tr_address){.port = -1};
    if (size >= sizeof out->place)
        return tr_err_set(err, TR_BADARG, "an address of more than %zu bytes",
                          sizeof out->place - 1);
    memcpy(out->place, address, size + 1);
    out->tcp = starts_with(address, tcp_word);
    if (!out->tcp) {
        const char *path = out->place + strlen(ipc_word);
        bool fits = starts_with(address, ipc_word) && path[0] && strlen(path) < IPC_BYTES;
        return fits ? TR_OK : no_address(address, err);
    }
    enum tr_status st = take_key(address, out, err);
    if (st != TR_OK) return st;
    const char *host = out->place + strlen(tcp_word);
    if (!split(host, out) || !look_at_host(out, host[0] == '['))
        return no_address(address, err);
    if (keys || out->loopback) return TR_OK;
    return tr_err_set(err, TR_BADARG,
                      "%.120s: needs keys (troupe keygen DIR): without them only "
                      "tcp://127.0.0.1:PORT, tcp://[::1]:PORT and ipc://PATH may be used",
                      address);
}

/* ---- looking up ---- */

/* The numbers of a socket address as a host, in brackets if need be. */
static void number_text(const struct sockaddr_storage *s, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *four = (const void *)s;
    const struct sockaddr_in6 *six = (const void *)s;
    if (s->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        snprintf(out, size, "[%s]", text);
    } else {
        inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        snprintf(out, size, "%s", text);
    }
}

/* The first address of a name in a family; false when it has none. */
static bool look_up(const char *host, int port, int family, struct sockaddr_storage *out,
                    socklen_t *size, int *fault)
{
    struct addrinfo want = {.ai_family = family, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    /* RFC 6761, 6.3: loopback, whatever a name server says and where no hosts file says so. */
    if (family == AF_INET && strcasecmp(host, "localhost") == 0) host = "127.0.0.1";
    *fault = getaddrinfo(host, service, &want, &found);
    if (*fault != 0) return false;
    memcpy(out, found->ai_addr, found->ai_addrlen);
    *size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static enum tr_status find(const struct tr_address *a, struct sockaddr_storage *out,
                           socklen_t *size, struct tr_err *err)
{
    int four = 0, six = 0;
    if (!a->six && look_up(a->host, a->port, AF_INET, out, size, &four)) return TR_OK;
    if (look_up(a->host, a->port, AF_INET6, out, size, &six)) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: cannot find the host %s: %s", a->place,
                      a->host, gai_strerror(a->six ? six : four));
}

enum tr_status tr_address_resolve(struct tr_address *a, struct tr_err *err)
{
    struct sockaddr_storage found = {0};
    socklen_t size = 0;
    if (!a->named) return TR_OK;
    enum tr_status st = find(a, &found, &size, err);
    if (st != TR_OK) return st;
    char host[INET6_ADDRSTRLEN + 2];
    number_text(&found, host, sizeof host);
    snprintf(a->numbers, sizeof a->numbers, "tcp://%s:%d", host, a->port);
    a->six = found.ss_family == AF_INET6;
    if (strcasecmp(a->host, "localhost") == 0) /* ZeroMQ would ask a name server again */
        memcpy(a->place, a->numbers, sizeof a->numbers);
    return TR_OK;
}

/* ---- saying where ---- */

enum tr_status tr_address_beside(const char *meeting, char *out, struct tr_err *err)
{
    struct tr_address a;
    struct sockaddr_storage there = {0}, here = {0};
    socklen_t size = 0, room = sizeof here;
    char host[INET6_ADDRSTRLEN + 2] = "127.0.0.1";
    enum tr_status st = tr_address_parse(meeting, true, &a, err);
    if (st == TR_OK && a.tcp && !a.loopback && !a.every) {
        st = find(&a, &there, &size, err);
        if (st != TR_OK) return st;
        /* Connecting a datagram socket sends nothing; it only asks the routing table. */
        int fd = socket(there.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        bool good = fd >= 0 && connect(fd, (const void *)&there, size) == 0 &&
                    getsockname(fd, (void *)&here, &room) == 0;
        if (fd >= 0) close(fd);
        if (!good) return tr_err_set(err, TR_IO, "%s: no way leads there", meeting);
        number_text(&here, host, sizeof host);
    } else if (st == TR_OK && a.six && a.loopback) {
        snprintf(host, sizeof host, "[::1]");
    }
    if (st == TR_OK) snprintf(out, TR_ADDRESS_BYTES, "tcp://%s:0", host);
    return st;
}

/* This host's name, if others can use it; else false. */
static bool own_name(char *name, size_t size)
{
    struct sockaddr_storage s = {0};
    struct tr_address a = {0};
    socklen_t length = 0;
    int fault = 0;
    if (gethostname(name, size) != 0) return false;
    name[size - 1] = 0;
    if (!look_up(name, 0, AF_INET, &s, &length, &fault)) return false;
    number_text(&s, a.host, sizeof a.host);
    return look_at_host(&a, false) && !a.loopback;
}

enum tr_status tr_address_give(const char *endpoint, const struct tr_curve *key,
                               char *out, struct tr_err *err)
{
    struct tr_address a;
    struct tr_digest bytes;
    char name[HOST_BYTES], text[65] = "", place[TR_ADDRESS_BYTES];
    enum tr_status st = tr_address_parse(endpoint, true, &a, err);
    if (st != TR_OK) return st;
    snprintf(place, sizeof place, "%s", a.place);
    if (a.every)
        snprintf(place, sizeof place, "tcp://%s:%d",
                 own_name(name, sizeof name) ? name : "127.0.0.1", a.port);
    if (key && a.tcp) {
        memcpy(bytes.byte, key->byte, sizeof bytes.byte);
        tr_digest_text(&bytes, text);
    }
    int n = snprintf(out, TR_ADDRESS_BYTES, "%s%s%s", place, text[0] ? "#" : "", text);
    if (n < TR_ADDRESS_BYTES) return TR_OK;
    return tr_err_set(err, TR_BADARG, "%s: no room for a key", endpoint);
}
