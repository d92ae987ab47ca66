// The plugin's other thread: it talks to the server, so that the audio thread never waits.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "core.hpp"
#include "link.hpp"
#include "shelf.hpp"
#include "wire.hpp"

namespace jukebox {

constexpr char kDefaultServer[] = "127.0.0.1:7175";

// What the host's session keeps as text, and what is told; shared with the host's main thread.
struct Texts {
    std::string server = kDefaultServer;
    std::string token, model, artist, genre, lyrics, folder, seed, takes;
    std::string status = "no server";
    std::string take;
    int version = 0;
    int loaded_version = -1;  // of `takes`
};

class Worker {
public:
    Worker(Core& core, Texts& texts, std::mutex& mutex, std::string name);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

private:
    using Clock = std::chrono::steady_clock;

    struct Answer {
        Command command;
        Settings settings;
        Take* take = nullptr;
        std::string request_id, take_id;
        bool coming = false;
        bool accepted = false;  // by the user, who may be quicker than the server
    };
    void run();
    void read_texts();
    void talk();
    void disconnect(const std::string& why);
    void read_events();
    void handle(Event& event);
    void take_audio(const Event& event);
    void finish(Filling filling);
    void fail(const std::string& why);
    void obey();
    void obey(const Command& command);
    void ask();
    void ask(const Command& command);
    void open_session(int64_t start, int64_t splice, std::vector<Note> notes);
    void begin_capture();
    void send_recording();
    void collect_midi();
    void keep();
    void take_back();
    void share_takes();
    Settings settings() const;
    void tell(Status status, const std::string& text);

    Core& core_;
    Texts& shared_;
    std::mutex& mutex_;
    Alarm alarm_;  // at the end
    Link link_;
    Shelf shelf_;
    Texts texts_;
    int takes_version_ = -1;

    bool capturing_ = false;
    bool session_open_ = false;
    int64_t base_ = 0;    // session sample minus clock
    int64_t cursor_ = 0;  // the next sample to send
    int64_t session_start_ = 0;

    std::optional<Command> pending_;
    Clock::time_point pending_until_{};
    bool resuming_ = false;
    std::optional<Answer> answer_;
    std::deque<MidiEvent> midi_;
    std::vector<MidiEvent> unsent_midi_;
    int64_t requests_ = 0;
    std::vector<float> buffer_;
    std::thread thread_;
};

}  // namespace jukebox
