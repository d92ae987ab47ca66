#include "socket.hpp"

#include <chrono>
#include <cstring>
#include <thread>

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#endif

namespace jukebox {

namespace {

#ifdef _WIN32
bool would_block() { return WSAGetLastError() == WSAEWOULDBLOCK; }
void close_socket(intptr_t descriptor) { closesocket(static_cast<SOCKET>(descriptor)); }
int wait_for(pollfd* what, Alarm&, int timeout_ms) { return WSAPoll(what, 1, timeout_ms); }
bool prepare(intptr_t descriptor) {
    u_long on = 1;
    return ioctlsocket(static_cast<SOCKET>(descriptor), FIONBIO, &on) == 0;
}
void begin_sockets() {
    static const int begun = [] {
        WSADATA data;
        return WSAStartup(MAKEWORD(2, 2), &data);
    }();
    (void)begun;
}
constexpr int kSendFlags = 0;
#else
bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINPROGRESS || errno == EINTR; }
void close_socket(intptr_t descriptor) {
    ::shutdown(static_cast<int>(descriptor), SHUT_RDWR);
    ::close(static_cast<int>(descriptor));
}
// Waits for one of them; how many have news.
int wait_for(pollfd* what, Alarm& alarm, int timeout_ms) {
    pollfd both[2] = {*what, {alarm.descriptor(), POLLIN, 0}};
    const int found = ::poll(both, 2, timeout_ms);
    *what = both[0];
    return found;
}
bool prepare(intptr_t descriptor) {
    const int fd = static_cast<int>(descriptor);
    ::fcntl(fd, F_SETFD, FD_CLOEXEC);
    return ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0;
}
void begin_sockets() {}
#ifdef MSG_NOSIGNAL
constexpr int kSendFlags = MSG_NOSIGNAL;  // a server that has gone must not end the host
#else
constexpr int kSendFlags = 0;
#endif
#endif

// Where to connect to. Names are not looked up: that can take many seconds.
struct Place {
    sockaddr_storage address{};
    socklen_t size = 0;
    bool local = false;
};

std::string place_of(const std::string& text, Place& place) {
#ifndef _WIN32
    if (text.rfind("unix:", 0) == 0) {
        auto* to = reinterpret_cast<sockaddr_un*>(&place.address);
        const std::string path = text.substr(5);
        if (path.size() >= sizeof(to->sun_path)) return "the path of the socket is too long: " + text;
        to->sun_family = AF_UNIX;
        std::memcpy(to->sun_path, path.c_str(), path.size() + 1);
        place.size = sizeof(sockaddr_un);
        place.local = true;
        return {};
    }
#endif
    const size_t colon = text.rfind(':');
    if (colon == std::string::npos || colon + 1 == text.size()) return "no HOST:PORT and no unix:PATH: " + text;
    std::string host = text.substr(0, colon);
    if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
    if (host == "localhost") host = "127.0.0.1";
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    addrinfo* found = nullptr;
    if (getaddrinfo(host.c_str(), text.c_str() + colon + 1, &hints, &found) != 0 || found == nullptr)
        return "the address must be a number, such as 127.0.0.1:7175: " + text;
    std::memcpy(&place.address, found->ai_addr, found->ai_addrlen);
    place.size = static_cast<socklen_t>(found->ai_addrlen);
    freeaddrinfo(found);
    return {};
}

}  // namespace

std::string Socket::open(const std::string& address) {
    close();
    begin_sockets();
    Place place;
    std::string wrong = place_of(address, place);
    if (!wrong.empty()) return wrong;
    descriptor_ = static_cast<intptr_t>(::socket(place.address.ss_family, SOCK_STREAM, 0));
    if (descriptor_ < 0) return "no socket can be made";
    if (!prepare(descriptor_)) {
        close();
        return "the socket cannot be made non-blocking";
    }
    if (!place.local) {
        const int on = 1;
        ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<const char*>(&on), sizeof(on));
    }
#ifdef SO_NOSIGPIPE
    const int quiet = 1;
    ::setsockopt(descriptor_, SOL_SOCKET, SO_NOSIGPIPE, &quiet, sizeof(quiet));
#endif
    const auto* to = reinterpret_cast<const sockaddr*>(&place.address);
    if (::connect(descriptor_, to, place.size) == 0) {
        state_ = State::Open;
    } else if (would_block()) {
        state_ = State::Connecting;
    } else {
        close();
        return "no server at " + address;
    }
    return {};
}

void Socket::close() noexcept {
    if (descriptor_ >= 0) close_socket(descriptor_);
    descriptor_ = -1;
    state_ = State::Closed;
    outgoing_.clear();
    incoming_.clear();
    sent_ = 0;
}

bool Socket::step(Alarm& alarm, int timeout_ms) {
    if (state_ == State::Closed) return false;
    pollfd what{};
    what.fd = static_cast<decltype(what.fd)>(descriptor_);
    what.events = POLLIN;
    if (state_ == State::Connecting || unsent_bytes() > 0) what.events |= POLLOUT;
    if (wait_for(&what, alarm, timeout_ms) <= 0 || what.revents == 0) return true;
    if (state_ == State::Connecting) {
        int error = 0;
        socklen_t size = sizeof(error);
        ::getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&error), &size);
        if (error != 0 || (what.revents & (POLLERR | POLLNVAL)) != 0) return false;
        if ((what.revents & POLLOUT) == 0) return (what.revents & POLLHUP) == 0;
        state_ = State::Open;
    }
    if ((what.revents & POLLOUT) != 0 && !write()) return false;
    if ((what.revents & (POLLIN | POLLHUP | POLLERR)) != 0) return read();
    return true;
}

bool Socket::write() {
    while (unsent_bytes() > 0) {
        const auto* from = reinterpret_cast<const char*>(outgoing_.data() + sent_);
        const auto count = ::send(descriptor_, from, unsent_bytes(), kSendFlags);
        if (count < 0) return would_block();
        sent_ += static_cast<size_t>(count);
    }
    outgoing_.clear();
    sent_ = 0;
    return true;
}

bool Socket::read() {
    char buffer[65536];
    // A few at a time, so that a fast server does not keep the worker from everything else.
    for (int i = 0; i < 16; ++i) {
        const auto count = ::recv(descriptor_, buffer, sizeof(buffer), 0);
        if (count == 0) return false;
        if (count < 0) return would_block();
        incoming_.insert(incoming_.end(), buffer, buffer + count);
    }
    return true;
}

#ifdef _WIN32
Alarm::Alarm() {}
Alarm::~Alarm() {}
void Alarm::ring() noexcept {}
void Alarm::wait(int timeout_ms) noexcept { pause_ms(timeout_ms); }
#else
Alarm::Alarm() {
    // Where there is none, both ends stay -1, which poll leaves out.
    if (::pipe(ends_) != 0) return;
    for (const int end : ends_) prepare(end);
}

Alarm::~Alarm() {
    for (const int end : ends_)
        if (end >= 0) ::close(end);
}

void Alarm::ring() noexcept {
    // One byte, which nobody reads; where the pipe were full, it would ring already.
    while (::write(ends_[1], "", 1) < 0 && errno == EINTR) {
    }
}

void Alarm::wait(int timeout_ms) noexcept {
    pollfd what{ends_[0], POLLIN, 0};
    ::poll(&what, 1, timeout_ms);
}
#endif

void pause_ms(int milliseconds) { std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds)); }

}  // namespace jukebox
