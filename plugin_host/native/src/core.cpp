#include "core.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>

namespace jukebox {

namespace {

constexpr std::array<float, kNumParameters> kDefaults = [] {
    std::array<float, kNumParameters> values{};
    values[kBars] = 4.0f;
    values[kTemperature] = 1.0f;
    values[kGuidance] = 1.0f;
    values[kMix] = 1.0f;
    values[kFade] = 10.0f;
    values[kWidth] = 1.0f;
    values[kLead] = 1000.0f;
    values[kPrime] = 20.0f;
    values[kWait] = kWaitOffline;
    return values;
}();

int64_t ring_samples(double sample_rate) {
    // Beyond 96 kHz no server takes audio: nothing is kept then.
    return static_cast<int64_t>(sample_rate <= 96000.0 ? kCaptureSeconds * sample_rate : sample_rate) + 8192;
}

}  // namespace

Core::Core(double sample_rate)
    : heard(ring_samples(sample_rate)),
      sample_rate_(sample_rate),
      settle_samples_(std::llround(kSettleSeconds * sample_rate)),
      player_(to_player, from_player, sample_rate) {
    for (uint32_t i = 0; i < kNumParameters; ++i) set_parameter(i, kDefaults[i]);
}

void Core::activate() noexcept {
    looked_ = {};
    offline_ = false;
}

bool Core::waits() const noexcept {
    const int wait = static_cast<int>(parameter(kWait));
    return wait == kWaitAlways || (wait == kWaitOffline && offline_);
}

void Core::watch_pace(int64_t frames) noexcept {
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double>(now - looked_).count();
    paced_samples_ += frames;
    const double made = static_cast<double>(paced_samples_) / sample_rate_;
    // Hosts that work ahead do so by fractions of a second; two seconds at four times the speed is a render.
    if (looked_.time_since_epoch().count() == 0 || passed > 2.0 || made >= 2.0) {
        if (made >= 2.0) offline_ = made > 4.0 * passed;
        looked_ = now;
        paced_samples_ = 0;
    }
}

void Core::process(const float* const* in, float** out, int64_t frames, const MidiEvent* events, size_t num_events,
                   const Transport& transport) noexcept {
    watch_pace(frames);
    receive();
    for (size_t i = 0; i < num_events; ++i) {
        MidiEvent event = events[i];
        event.sample += clock_;
        midi.push(event);
    }
    press_buttons(frames, transport);
    for (int64_t at = 0; at < frames;) {
        int64_t length = frames - at;
        // An answer that begins inside of this block is made from what lies before it in the block.
        if (expecting_ && waits() && expected_.splice_sample > clock_)
            length = std::min(length, expected_.splice_sample - clock_);
        Transport here = transport;
        here.host_sample += at;
        here.quarters_since_bar += static_cast<double>(at) / sample_rate_ * transport.tempo_bpm / 60.0;
        if (waits()) wait_for(length);
        segment(in, out, at, length, here);
        clock_ += length;
        at += length;
    }
    set_parameter(kLate, static_cast<float>(player_.late_samples()));
}

void Core::segment(const float* const* in, float** out, int64_t at, int64_t frames,
                   const Transport& transport) noexcept {
    float* left = out[0] + at;
    float* right = out[1] + at;
    // The whole block lies in `in` until the last segment: hosts may give the same memory for both.
    if (left != in[0] + at) std::memmove(left, in[0] + at, sizeof(float) * static_cast<size_t>(frames));
    if (right != in[1] + at) std::memmove(right, in[1] + at, sizeof(float) * static_cast<size_t>(frames));
    const float mix = parameter(kMix);
    const float width = parameter(kWidth);
    constexpr int64_t kStep = 256;
    float dry[2][kStep];
    for (int64_t done = 0; done < frames; done += kStep) {
        const int64_t n = std::min(kStep, frames - done);
        Transport here = transport;
        here.host_sample += done;
        here.quarters_since_bar += static_cast<double>(done) / sample_rate_ * transport.tempo_bpm / 60.0;
        std::memcpy(dry[0], left + done, sizeof(float) * static_cast<size_t>(n));
        std::memcpy(dry[1], right + done, sizeof(float) * static_cast<size_t>(n));
        player_.render(left + done, right + done, n, clock_ + done, here, parameter(kFade) / 1000.0);
        heard.write(left + done, right + done, n);
        if ((mix == 1.0f && width == 1.0f) || !player_.sounds()) continue;
        for (int64_t i = done; i < done + n; ++i) {
            const float middle = 0.5f * (left[i] + right[i]);
            const float side = 0.5f * width * (left[i] - right[i]);
            const float wide_left = width == 1.0f ? left[i] : middle + side;
            const float wide_right = width == 1.0f ? right[i] : middle - side;
            left[i] = dry[0][i - done] * (1.0f - mix) + wide_left * mix;
            right[i] = dry[1][i - done] * (1.0f - mix) + wide_right * mix;
        }
    }
}

void Core::press_buttons(int64_t frames, const Transport& transport) noexcept {
    if (restored_.exchange(false, std::memory_order_acq_rel)) settling_samples_ = first_ ? 1 : settle_samples_;
    first_ = false;
    // Hosts restore values one by one, and may run blocks between two of them.
    const bool restored = settling_samples_ > 0;
    settling_samples_ = std::max<int64_t>(0, settling_samples_ - frames);
    std::array<bool, kBars> down{};
    for (uint32_t i = 0; i < kBars; ++i) down[i] = parameter(static_cast<Parameter>(i)) > 0.5f;
    const auto before = restored ? down : pressed_;
    // A recording that was on when the session was saved goes on; it is a switch, no button.
    const bool captured = capturing_;
    capturing_ = down[kCapture];
    pressed_ = down;
    if (down[kCapture] != captured) ask(down[kCapture] ? Verb::Capture : Verb::EndCapture, transport);
    if (down[kStop] && !before[kStop]) ask(Verb::Stop, transport);
    if (down[kUndo] && !before[kUndo]) ask(Verb::Undo, transport);
    if (down[kAccept] && !before[kAccept]) ask(Verb::Accept, transport);
    if (down[kContinue] && !before[kContinue]) ask(Verb::Continue, transport);
    if (down[kRetry] && !before[kRetry]) ask(Verb::Retry, transport);
}

void Core::ask(Verb verb, const Transport& transport) noexcept {
    Command command;
    command.verb = verb;
    command.number = number_;
    command.now_sample = clock_;
    command.host_offset = transport.playing ? transport.host_sample - clock_ : 0;
    command.prime_samples = std::llround(parameter(kPrime) * sample_rate_);
    if (verb == Verb::Stop) {
        player_.release();
        expecting_ = false;
    }
    if (verb == Verb::Continue || verb == Verb::Retry) {
        const int64_t lead = std::llround(parameter(kLead) / 1000.0 * sample_rate_);
        const double line = bar_line(transport, clock_, clock_ + lead, sample_rate_);
        const double exact = line <= -1.0 ? static_cast<double>(clock_ + lead) : line;
        command.begin_sample = std::max(clock_ + lead, static_cast<int64_t>(std::llround(exact)));
        command.splice_sample = command.begin_sample - lead;
        // Both ends are rounded from the same unrounded line, so that bars do not drift.
        command.end_sample = std::llround(exact + parameter(kBars) * bar_samples(transport, sample_rate_));
        command.on_host = transport.playing;
        command.host_sample = transport.host_sample + command.begin_sample - clock_;
        command.number = ++number_;
    }
    if (!commands.push(command)) {
        failed_number.store(number_, std::memory_order_release);
        return;
    }
    if (verb == Verb::Continue) {
        expected_ = command;
        expecting_ = true;
        arrived_ = false;
        given_up_ = false;
    }
}

void Core::receive() noexcept {
    player_.receive();
    arrived_ = arrived_ || player_.find(expected_.number) != nullptr;
}

bool Core::must_wait(int64_t frames) const noexcept {
    if (quitting.load(std::memory_order_relaxed)) return false;
    // The worker reads what is recorded; a render must not overtake it.
    if (sending.load(std::memory_order_acquire) &&
        clock_ - sent_sample.load(std::memory_order_acquire) > heard.capacity() / 2)
        return true;
    if (!expecting_ || failed_number.load(std::memory_order_acquire) >= expected_.number) return false;
    const int64_t fade = std::llround(parameter(kFade) / 1000.0 * sample_rate_);
    const int64_t needed = std::max(expected_.splice_sample, expected_.begin_sample - fade);
    if (clock_ + frames <= needed) return false;
    const Take* take = player_.find(expected_.number);
    // One that was here and is not any more has made room for another one.
    if (take == nullptr) return !arrived_ && clock_ < expected_.end_sample;
    if (take->filling.load(std::memory_order_acquire) != Filling::Coming) return false;
    const int64_t last = std::min(clock_ + frames - take->splice_sample + player_.guard_samples(), take->length());
    return take->written.load(std::memory_order_acquire) < last;
}

void Core::wait_for(int64_t frames) noexcept {
    if (given_up_) return;
    const auto begun = std::chrono::steady_clock::now();
    while (must_wait(frames)) {
        // An offline render has no deadline; the bound keeps a host from hanging for ever.
        if (std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count() > kWaitSeconds) {
            given_up_ = true;
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        receive();
    }
}

}  // namespace jukebox
