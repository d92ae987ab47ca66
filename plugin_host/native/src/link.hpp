// The connection to the server: it is made again and again with pauses that grow, and brings events.
#pragma once

#include <chrono>
#include <string>

#include "socket.hpp"
#include "wire.hpp"

namespace jukebox {

class Link {
public:
    // The name is what the server is told of the plugin.
    explicit Link(std::string name) : name_(std::move(name)) {}

    // Names the server; true if that cuts a connection off.
    bool aim(const std::string& address);
    const std::string& address() const noexcept { return address_; }
    // Connects when it is time, else waits for news or the alarm, at most so long. Returns why there is no
    // connection, when that is known anew. What came before the end can still be read.
    std::string step(const std::string& token, Alarm& alarm, int timeout_ms);
    // Whether an event has come; `wrong` says what has come instead.
    bool next(Event& event, std::string& wrong);
    void close();
    // Somebody waits: tries again at once.
    void hurry();

    bool is_closed() const noexcept { return socket_.state() == Socket::State::Closed; }
    // Whether the server has answered the hello.
    bool welcomed() const noexcept { return welcomed_; }
    void send(const Bytes& frame) { socket_.send(frame); }
    size_t unsent_bytes() const noexcept { return socket_.unsent_bytes(); }

private:
    using Clock = std::chrono::steady_clock;

    std::string connect(const std::string& token);

    const std::string name_;
    std::string address_;
    Socket socket_;
    size_t read_ = 0;  // bytes of those that were received
    bool welcomed_ = false;
    Clock::time_point next_try_{}, asked_at_{};
    int backoff_ms_ = 0;
};

}  // namespace jukebox
