// The connections of a gateway: how many there are, and which of them does nothing.
//
// Must never let their number pass the limit: a new one takes the place of the one that was idle for longest, and where
// all of them are busy it is turned away.

import NIOCore
import Synchronization

/// An idle connection is asked to make room.
struct MakeRoomEvent: Sendable {}

final class OpenConnections: Sendable {
  /// One connection's own note of what it does. Any thread.
  final class Entry: Sendable {
    fileprivate let channel: any Channel
    /// When it last became idle, by `MonotonicClock`; zero while a request is open.
    private let idleSince = Atomic<UInt64>(MonotonicClock.nanoseconds | 1)

    fileprivate init(_ channel: any Channel) { self.channel = channel }

    fileprivate var idle: UInt64 { idleSince.load(ordering: .relaxed) }

    func isBusy() { idleSince.store(0, ordering: .relaxed) }

    /// Never zero, which means the opposite.
    func isIdle() { idleSince.store(MonotonicClock.nanoseconds | 1, ordering: .relaxed) }
  }

  private struct State {
    var entries: [ObjectIdentifier: Entry] = [:]
    var turnedAway: UInt64 = 0
  }

  private let limit: Int
  private let state = Mutex(State())

  init(limit: Int) { self.limit = limit }

  var count: Int { state.withLock { $0.entries.count } }
  var turnedAway: UInt64 { state.withLock { $0.turnedAway } }

  /// Counts a connection until it is closed; `nil` where there is no room for it.
  func admit(_ channel: any Channel) -> Entry? {
    let entry = Entry(channel)
    let id = ObjectIdentifier(entry)
    let (isIn, leaving) = state.withLock { state -> (Bool, Entry?) in
      var leaving: Entry?
      if state.entries.count >= limit {
        leaving = state.entries.values.filter { $0.idle > 0 }.min { $0.idle < $1.idle }
        guard let leaving else {
          state.turnedAway += 1
          return (false, nil)
        }
        state.entries[ObjectIdentifier(leaving)] = nil
      }
      state.entries[id] = entry
      return (true, leaving)
    }
    leaving?.channel.pipeline.fireUserInboundEventTriggered(MakeRoomEvent())
    guard isIn else { return nil }
    channel.closeFuture.whenComplete { [self] _ in state.withLock { _ = $0.entries.removeValue(forKey: id) } }
    return entry
  }
}
