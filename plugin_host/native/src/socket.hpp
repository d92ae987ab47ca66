// A stream socket that never makes its caller wait: TCP to a numeric address, or a unix socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace jukebox {

// Ends another thread's waiting at once; where there is no pipe to wait for (Windows), waiting
// takes its time.
class Alarm {
public:
    Alarm();
    ~Alarm();
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;

    // From then on nothing waits for it any more.
    void ring() noexcept;
    // Returns when it rings, at the latest after so long.
    void wait(int timeout_ms) noexcept;
    int descriptor() const noexcept { return ends_[0]; }

private:
    int ends_[2] = {-1, -1};
};

class Socket {
public:
    enum class State { Closed, Connecting, Open };

    ~Socket() { close(); }
    Socket() = default;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;

    // Begins to connect to `HOST:PORT` or `unix:PATH`; returns what is wrong, or nothing.
    std::string open(const std::string& address);
    void close() noexcept;
    // Waits for news or the alarm, at most so long; returns false where the connection has ended.
    bool step(Alarm& alarm, int timeout_ms);
    void send(const std::vector<uint8_t>& bytes) { outgoing_.insert(outgoing_.end(), bytes.begin(), bytes.end()); }
    State state() const noexcept { return state_; }
    size_t unsent_bytes() const noexcept { return outgoing_.size() - sent_; }
    std::vector<uint8_t>& received() noexcept { return incoming_; }

private:
    bool write();
    bool read();

    intptr_t descriptor_ = -1;
    State state_ = State::Closed;
    std::vector<uint8_t> outgoing_, incoming_;
    size_t sent_ = 0;
};

void pause_ms(int milliseconds);

}  // namespace jukebox
