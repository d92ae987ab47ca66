#include "keeping.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <sstream>

namespace jukebox {

namespace {

constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::string encoded(const std::vector<uint8_t>& bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        uint32_t group = static_cast<uint32_t>(bytes[i]) << 16;
        if (i + 1 < bytes.size()) group |= static_cast<uint32_t>(bytes[i + 1]) << 8;
        if (i + 2 < bytes.size()) group |= bytes[i + 2];
        text += kDigits[group >> 18];
        text += kDigits[(group >> 12) & 63];
        text += i + 1 < bytes.size() ? kDigits[(group >> 6) & 63] : '=';
        text += i + 2 < bytes.size() ? kDigits[group & 63] : '=';
    }
    return text;
}

bool decoded(const std::string& text, std::vector<uint8_t>& bytes) {
    std::array<int, 256> values{};
    values.fill(-1);
    for (int i = 0; i < 64; ++i) values[static_cast<uint8_t>(kDigits[i])] = i;
    uint32_t group = 0;
    int bits = 0;
    for (const char c : text) {
        if (c == '=') break;
        const int value = values[static_cast<uint8_t>(c)];
        if (value < 0) return false;
        group = (group << 6) | static_cast<uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<uint8_t>(group >> bits));
        }
    }
    return true;
}

std::vector<uint8_t> interleaved(const Take& take) {
    const auto frames = static_cast<size_t>(take.length());
    std::vector<uint8_t> bytes(frames * 2 * sizeof(float));
    for (size_t i = 0; i < frames; ++i) {
        std::memcpy(&bytes[8 * i], &take.left[i], sizeof(float));
        std::memcpy(&bytes[8 * i + 4], &take.right[i], sizeof(float));
    }
    return bytes;
}

constexpr size_t kBextBytes = 602;  // EBU Tech 3285, version 1, without a history
constexpr size_t kFormatAt = 12 + 8 + kBextBytes;
constexpr size_t kHeaderBytes = kFormatAt + 8 + 16 + 8;

// RIFF with its place on the timeline (BWF), stereo float32; little-endian, as the machines that hosts run on are.
std::vector<uint8_t> header_of(uint32_t data_bytes, uint32_t sample_rate, uint64_t first_sample) {
    std::vector<uint8_t> header(kHeaderBytes);
    const auto put = [&](size_t at, const auto& value) { std::memcpy(&header[at], &value, sizeof(value)); };
    const auto text = [&](size_t at, const char* word) { std::memcpy(&header[at], word, std::strlen(word)); };
    text(0, "RIFF");
    put(4, static_cast<uint32_t>(data_bytes + kHeaderBytes - 8));
    text(8, "WAVEbext");
    put(16, static_cast<uint32_t>(kBextBytes));
    text(20 + 256, "Jukebox Bridge");  // originator
    put(20 + 338, first_sample);
    put(20 + 346, uint16_t{1});
    text(kFormatAt, "fmt ");
    put(kFormatAt + 4, uint32_t{16});
    put(kFormatAt + 8, uint16_t{3});  // IEEE float
    put(kFormatAt + 10, uint16_t{2});
    put(kFormatAt + 12, sample_rate);
    put(kFormatAt + 16, sample_rate * 8);
    put(kFormatAt + 20, uint16_t{8});
    put(kFormatAt + 22, uint16_t{32});
    text(kFormatAt + 24, "data");
    put(kFormatAt + 28, data_bytes);
    return header;
}

bool is_name(const std::string& name) {
    return !name.empty() && name.find('/') == std::string::npos && name.find('\\') == std::string::npos &&
           name.front() != '.';
}

std::string write_file(const std::string& path, const std::vector<uint8_t>& header, const std::vector<uint8_t>& data) {
    const std::string part = path + ".part";
    std::FILE* file = std::fopen(part.c_str(), "wb");
    if (file == nullptr) return "cannot be written: " + part;
    bool good = std::fwrite(header.data(), 1, header.size(), file) == header.size();
    good = good && std::fwrite(data.data(), 1, data.size(), file) == data.size();
    good = std::fclose(file) == 0 && good;
    good = good && std::rename(part.c_str(), path.c_str()) == 0;
    if (!good) std::remove(part.c_str());
    return good ? std::string{} : "cannot be written: " + path;
}

bool read_file(const std::string& path, std::vector<uint8_t>& data, size_t size) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    if (file == nullptr) return false;
    data.resize(size);
    const bool good = std::fseek(file, kHeaderBytes, SEEK_SET) == 0 && std::fread(data.data(), 1, size, file) == size;
    std::fclose(file);
    return good;
}

}  // namespace

std::string kept_line(const Take& take, const std::string& id, int sample_rate, const std::string& folder,
                      std::string& wrong) {
    if (!is_name(id)) {
        wrong = "the take has no usable id";
        return {};
    }
    std::ostringstream line;
    line << id << ' ' << sample_rate << ' ' << take.host_sample << ' ' << take.lead() << ' ' << take.length() << ' ';
    const auto data = interleaved(take);
    if (folder.empty()) {
        if (static_cast<double>(take.length()) > kMaxInlineSeconds * sample_rate) {
            wrong = "the take is longer than 32 s: name a folder of the project to accept it";
            return {};
        }
        line << "pcm:" << encoded(data);
        return line.str();
    }
    const std::string name = "jukebox-" + id + ".wav";
    const auto first_sample = static_cast<uint64_t>(std::max<int64_t>(0, take.host_sample - take.lead()));
    const auto header =
        header_of(static_cast<uint32_t>(data.size()), static_cast<uint32_t>(sample_rate), first_sample);
    wrong = write_file(folder + "/" + name, header, data);
    if (!wrong.empty()) return {};
    line << "file:" << name;
    return line.str();
}

std::unique_ptr<Take> take_of_line(const std::string& line, int sample_rate, const std::string& folder,
                                   std::string& wrong) {
    std::istringstream words(line);
    std::string id, where;
    int64_t rate = 0, host_sample = 0, lead = 0, length = 0;
    words >> id >> rate >> host_sample >> lead >> length >> where;
    if (words.fail() || length <= 0 || length > int64_t{600} * 192000 || lead < 0 || lead > length) {
        wrong = "an accepted take is torn in the session";
        return {};
    }
    if (rate != sample_rate) {
        wrong = "the take " + id + " was made at " + std::to_string(rate) + " Hz, the session runs at " +
                std::to_string(sample_rate) + " Hz: it stays silent";
        return {};
    }
    std::vector<uint8_t> data;
    const size_t size = static_cast<size_t>(length) * 2 * sizeof(float);
    const std::string text = where.substr(where.find(':') + 1);
    const bool inside = where.rfind("pcm:", 0) == 0;
    const bool good = inside ? decoded(text, data) : is_name(text) && read_file(folder + "/" + text, data, size);
    if (!good || data.size() != size) {
        wrong = "the audio of the take " + id + " is missing";
        return {};
    }
    auto take = std::make_unique<Take>();
    take->begin_sample = lead;
    take->end_sample = length;
    take->host_sample = host_sample;
    take->on_host = true;
    take->kept.store(true);
    take->left.resize(static_cast<size_t>(length));
    take->right.resize(static_cast<size_t>(length));
    for (size_t i = 0; i < static_cast<size_t>(length); ++i) {
        std::memcpy(&take->left[i], &data[8 * i], sizeof(float));
        std::memcpy(&take->right[i], &data[8 * i + 4], sizeof(float));
    }
    take->written.store(length);
    take->filling.store(Filling::Complete);
    return take;
}

}  // namespace jukebox
