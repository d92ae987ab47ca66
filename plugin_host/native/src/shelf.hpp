// The takes that are in memory, from their making until the player has let go of them, and which
// of them belong to the session. Used by the worker alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core.hpp"

namespace jukebox {

class Shelf {
public:
    explicit Shelf(Core& core) : core_(core) {}

    // Hands a take to the player; false where too many wait there.
    bool play(std::unique_ptr<Take> take);
    // Plays the takes of a session's text, which take the place of those before; returns what is wrong.
    std::string load(const std::string& text, const std::string& folder);
    // Makes a whole take a part of the session; returns what is wrong.
    std::string keep(Take& take, const std::string& id, const std::string& folder);
    // Takes the last one out of the session again; returns its id, or nothing where there is none.
    std::string take_back();
    // The accepted takes, a line each.
    const std::string& text() const noexcept { return text_; }
    // Frees what the player has let go, but for one that may be asked for again.
    void free_retired(const Take* spared);

private:
    struct Owned {
        std::unique_ptr<Take> take;
        std::string id;  // of one that was accepted
        bool retired = false;
    };

    void withdraw(Owned& owned);

    Core& core_;
    std::vector<Owned> takes_;
    std::string text_;
};

}  // namespace jukebox
