#include "shelf.hpp"

#include <algorithm>
#include <sstream>

#include "keeping.hpp"

namespace jukebox {

namespace {

std::string id_of(const std::string& line) { return line.substr(0, line.find(' ')); }

}  // namespace

bool Shelf::play(std::unique_ptr<Take> take) {
    if (!core_.to_player.push(take.get())) return false;
    takes_.push_back({std::move(take), {}, false});
    return true;
}

std::string Shelf::load(const std::string& text, const std::string& folder) {
    std::string wrong;
    if (text == text_) return wrong;
    text_ = text;
    for (Owned& owned : takes_)
        if (owned.take->kept.load()) withdraw(owned);
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
        auto take = take_of_line(line, static_cast<int>(core_.sample_rate()), folder, wrong);
        if (take && play(std::move(take))) takes_.back().id = id_of(line);
    }
    return wrong;
}

std::string Shelf::keep(Take& take, const std::string& id, const std::string& folder) {
    std::string wrong;
    const std::string line = kept_line(take, id, static_cast<int>(core_.sample_rate()), folder, wrong);
    if (line.empty()) return wrong;
    take.kept.store(true);
    for (Owned& owned : takes_) {
        if (owned.take.get() != &take) continue;
        owned.id = id;
        if (owned.retired) owned.retired = !core_.to_player.push(&take);
    }
    text_ += line + "\n";
    return wrong;
}

std::string Shelf::take_back() {
    if (text_.empty()) return {};
    const size_t before = text_.rfind('\n', text_.size() - 2);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::string id = id_of(text_.substr(begin));
    text_.erase(begin);
    for (Owned& owned : takes_)
        if (owned.id == id && owned.take->kept.load()) withdraw(owned);
    return id;
}

void Shelf::withdraw(Owned& owned) {
    owned.take->kept.store(false);
    owned.take->filling.store(Filling::Cancelled);
}

void Shelf::free_retired(const Take* spared) {
    Take* take = nullptr;
    while (core_.from_player.pop(take))
        for (Owned& owned : takes_)
            if (owned.take.get() == take) owned.retired = true;
    const auto gone = [&](const Owned& owned) { return owned.retired && owned.take.get() != spared; };
    takes_.erase(std::remove_if(takes_.begin(), takes_.end(), gone), takes_.end());
}

}  // namespace jukebox
