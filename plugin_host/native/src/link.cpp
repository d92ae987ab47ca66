#include "link.hpp"

#include <algorithm>

namespace jukebox {

namespace {

using namespace std::chrono_literals;

constexpr int kFirstBackoffMs = 100;
constexpr int kLastBackoffMs = 5000;
constexpr auto kHelloPatience = 5s;

}  // namespace

bool Link::aim(const std::string& address) {
    if (address == address_) return false;
    address_ = address;
    backoff_ms_ = 0;
    next_try_ = {};
    return !is_closed();
}

std::string Link::step(const std::string& token, Alarm& alarm, int timeout_ms) {
    if (is_closed()) {
        std::string wrong = Clock::now() >= next_try_ ? connect(token) : std::string{};
        if (is_closed()) alarm.wait(timeout_ms);
        return wrong;
    }
    const bool was_open = socket_.state() == Socket::State::Open;
    if (!socket_.step(alarm, timeout_ms))
        return was_open ? "the server at " + address_ + " has ended the connection" : "no server at " + address_;
    if (!welcomed_ && Clock::now() - asked_at_ > kHelloPatience)
        return "the server at " + address_ + " does not answer";
    return {};
}

std::string Link::connect(const std::string& token) {
    backoff_ms_ = std::clamp(2 * backoff_ms_, kFirstBackoffMs, kLastBackoffMs);
    asked_at_ = Clock::now();
    next_try_ = asked_at_ + std::chrono::milliseconds(backoff_ms_);
    const std::string wrong = socket_.open(address_);
    if (wrong.empty()) socket_.send(hello_frame(name_, token));
    return wrong;
}

bool Link::next(Event& event, std::string& wrong) {
    auto& bytes = socket_.received();
    const size_t there = bytes.size() - read_;
    const uint8_t* head = bytes.data() + read_;
    uint32_t size = 0;
    if (there >= 4)
        size = static_cast<uint32_t>(head[0]) | static_cast<uint32_t>(head[1]) << 8 |
               static_cast<uint32_t>(head[2]) << 16 | static_cast<uint32_t>(head[3]) << 24;
    if (size > kMaxFrameBytes) {
        wrong = "the server at " + address_ + " speaks another protocol";
        return false;
    }
    if (there < 4 || there - 4 < size) {
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(read_));
        read_ = 0;
        return false;
    }
    read_ += 4 + size;
    event = Event{};
    if (!read_event(head + 4, size, event)) {
        wrong = "the server at " + address_ + " has sent what is no message";
        return false;
    }
    if (event.kind == Event::Kind::Welcome) {
        welcomed_ = true;
        backoff_ms_ = 0;
    }
    return true;
}

void Link::close() {
    socket_.close();
    read_ = 0;
    welcomed_ = false;
    next_try_ = Clock::now() + std::chrono::milliseconds(std::max(backoff_ms_, kFirstBackoffMs));
}

void Link::hurry() {
    if (is_closed()) next_try_ = {};
}

}  // namespace jukebox
