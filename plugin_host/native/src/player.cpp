#include "player.hpp"

#include <algorithm>
#include <cmath>

namespace jukebox {

namespace {

constexpr double kGuardSeconds = 0.005;
constexpr double kTicks = 1920.0;  // of a quarter, in Ardour
constexpr double kQuarterTurn = 1.5707963267948966;

float crossed(float under, float over, double gain) noexcept {
    if (gain <= 0.0) return under;
    if (gain >= 1.0) return over;
    return static_cast<float>(under * std::cos(gain * kQuarterTurn) + over * std::sin(gain * kQuarterTurn));
}

}  // namespace

double bar_line(const Transport& transport, int64_t clock, int64_t earliest, double sample_rate) noexcept {
    if (!transport.playing || !transport.bars || !(transport.tempo_bpm > 0.0)) return -1.0;
    const double quarter = sample_rate * 60.0 / transport.tempo_bpm;
    const double bar = bar_samples(transport, sample_rate);
    if (!(bar >= 1.0)) return -1.0;
    double first = static_cast<double>(clock) - transport.quarters_since_bar * quarter;
    // Hosts tell the beat in ticks; where the song has one tempo, its lines are known to the sample.
    const double song = static_cast<double>(transport.host_sample - clock);
    const double near = std::round((first + song) / bar) * bar - song;
    if (std::abs(near - first) <= quarter / kTicks + 1.0) first = near;
    // A line that rounds to `earliest` counts.
    return first + std::ceil((static_cast<double>(earliest) - 0.5 - first) / bar) * bar;
}

int64_t next_bar(const Transport& transport, int64_t clock, int64_t earliest, double sample_rate) noexcept {
    const double line = bar_line(transport, clock, earliest, sample_rate);
    return line <= -1.0 ? -1 : std::max<int64_t>(earliest, std::llround(line));
}

Player::Player(Takes& incoming, Takes& outgoing, double sample_rate)
    : incoming_(incoming),
      outgoing_(outgoing),
      sample_rate_(sample_rate),
      guard_(std::max<int64_t>(1, std::llround(kGuardSeconds * sample_rate))) {}

void Player::receive() noexcept {
    Take* take = nullptr;
    while (num_voices_ < kVoices && incoming_.pop(take)) {
        Voice voice;
        voice.take = take;
        voice.waits_for_bar = take->at_bar;
        voices_[num_voices_++] = voice;
    }
}

void Player::release() noexcept {
    for (size_t i = 0; i < num_voices_; ++i)
        if (!voices_[i].take->kept.load(std::memory_order_relaxed)) voices_[i].leaving = true;
}

const Take* Player::find(int64_t number) const noexcept {
    for (size_t i = 0; i < num_voices_; ++i)
        if (voices_[i].take->number == number) return voices_[i].take;
    return nullptr;
}

bool Player::sounds() const noexcept {
    for (size_t i = 0; i < num_voices_; ++i)
        if (voices_[i].gain > 0.0) return true;
    return false;
}

void Player::render(float* left, float* right, int64_t frames, int64_t clock, const Transport& transport,
                    double fade_seconds) noexcept {
    const int64_t fade = std::llround(fade_seconds * sample_rate_);
    size_t alone = 0;  // all below it are covered
    for (size_t i = 0; i < num_voices_; ++i) {
        lay(voices_[i], left, right, frames, clock, transport, fade);
        if (voices_[i].gain >= 1.0) alone = i;
    }
    for (size_t i = num_voices_; i-- > 0;) {
        const bool covered = i < alone && !voices_[i].take->kept.load(std::memory_order_relaxed);
        if (covered || is_over(voices_[i], clock + frames)) retire(i);
    }
}

void Player::lay(Voice& voice, float* left, float* right, int64_t frames, int64_t clock,
                 const Transport& transport, int64_t fade) noexcept {
    const Take& take = *voice.take;
    const Filling filling = take.filling.load(std::memory_order_acquire);
    const int64_t written = take.written.load(std::memory_order_acquire);
    if (take.on_host && !transport.playing && voice.gain <= 0.0) return;
    // Index of the take that belongs to the block's first sample.
    const int64_t first = take.on_host && transport.playing
                              ? transport.host_sample - take.host_sample + take.lead()
                              : clock - take.splice_sample;
    const bool stopped = take.on_host && !transport.playing;
    const bool coming = filling == Filling::Coming;
    if (filling == Filling::Cancelled) voice.leaving = true;
    const int64_t limit = std::min(written, take.length());
    const int64_t start = std::max<int64_t>(0, take.lead() - fade);
    const int64_t end_fade = limit == take.length() ? fade : guard_;
    if (voice.waits_for_bar) {
        const int64_t bar = next_bar(transport, clock, clock, sample_rate_);
        if (bar >= clock + frames && bar >= 0) return;
        const int64_t at = std::max(bar, clock);
        if (limit - (first + at - clock) <= guard_) return;
        voice.waits_for_bar = false;
        voice.from_sample = at;
    }
    for (int64_t i = 0; i < frames; ++i) {
        const int64_t index = first + i;
        const int64_t remaining = limit - index;
        const bool wanted = index >= start && index < take.length() && clock + i >= voice.from_sample;
        if (!wanted || voice.leaving || stopped || remaining <= 0) {
            if (wanted && coming && !voice.leaving && !stopped && index >= take.lead()) ++late_samples_;
            const bool readable = index >= 0 && remaining > 0;
            voice.gain = readable ? std::max(0.0, voice.gain - 1.0 / static_cast<double>(guard_)) : 0.0;
        } else {
            // On time the fade is the one asked for; whoever comes late does not click either.
            if (voice.gain <= 0.0) voice.rise = index == start ? fade : std::max(fade, guard_);
            voice.gain = voice.rise <= 0 ? 1.0 : std::min(1.0, voice.gain + 1.0 / static_cast<double>(voice.rise));
            if (remaining <= end_fade)
                voice.gain = std::min(voice.gain, static_cast<double>(remaining - 1) / static_cast<double>(end_fade));
        }
        if (voice.gain > 0.0) {
            left[i] = crossed(left[i], take.left[static_cast<size_t>(index)], voice.gain);
            right[i] = crossed(right[i], take.right[static_cast<size_t>(index)], voice.gain);
        }
    }
}

bool Player::is_over(const Voice& voice, int64_t clock) const noexcept {
    const Take& take = *voice.take;
    if (take.kept.load(std::memory_order_relaxed) || voice.gain > 0.0) return false;
    const Filling filling = take.filling.load(std::memory_order_acquire);
    if (voice.leaving || filling == Filling::Cancelled) return true;
    if (take.on_host) return false;  // a loop may come back to it
    const int64_t index = clock - take.splice_sample;
    if (filling == Filling::Broken) return index >= take.written.load(std::memory_order_acquire);
    return index >= take.length();
}

void Player::retire(size_t index) noexcept {
    if (!outgoing_.push(voices_[index].take)) return;  // the next block tries again
    for (size_t i = index + 1; i < num_voices_; ++i) voices_[i - 1] = voices_[i];
    voices_[--num_voices_] = Voice{};
}

}  // namespace jukebox
