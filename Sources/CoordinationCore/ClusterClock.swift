// The cluster clock: how leases measure time without any two machines agreeing on it.
//
// The leader stamps every entry with its reading. A node that gets an entry knows that the leader's clock had at least
// that reading when the entry arrived, and goes on counting from there on its own boot-time clock. Its own reading is
// therefore never ahead of the leader's but for the drift since the newest entry of its log, so a lease that it expires
// as the next leader ends late, never early; and what is added at a change of leader is the time that the last entry
// took to arrive, not a whole TTL.
//
// Invariant: for every entry of a node's log, the node's reading is at most the entry's stamp and the time since it was
// stamped. It holds for what is appended, since a leader stamps its reading or, where that is more, the stamp before.
//
// A stall (the process stopped, the machine suspended) does not count: after one, the holders' renewals are still in
// the socket while their leases look long over. Counting no more than `longestStep` of it gives them time to arrive.

package struct ClusterClock: Sendable {
  /// The most that one reading may be ahead of the one before.
  package let longestStepMilliseconds: UInt64

  private var readingMilliseconds: UInt64
  private var readAtLocalMilliseconds: UInt64?

  /// - Parameter startMilliseconds: the stamp of the newest entry in the log.
  package init(startMilliseconds: UInt64, longestStepMilliseconds: UInt64) {
    self.readingMilliseconds = startMilliseconds
    self.longestStepMilliseconds = longestStepMilliseconds
  }

  /// The clock's reading at an instant of this machine's boot-time clock.
  package mutating func now(localMilliseconds: UInt64) -> UInt64 {
    if let before = readAtLocalMilliseconds, localMilliseconds > before {
      readingMilliseconds += min(localMilliseconds - before, longestStepMilliseconds)
    }
    readAtLocalMilliseconds = max(localMilliseconds, readAtLocalMilliseconds ?? 0)
    return readingMilliseconds
  }

  /// A node that does not lead got entries, of which the last one has this stamp: it goes on counting from there, also
  /// backwards. A clock that is a little faster than the leader's would else gain on it for as long as both run, and a
  /// stamp of an entry that was replaced since would count for more than those of the log that there is. Either ends
  /// leases early on the day when the node leads.
  ///
  /// To be called when entries arrive, not when they are applied, and not with a leader's own.
  package mutating func follow(stampMilliseconds: UInt64, localMilliseconds: UInt64) {
    _ = now(localMilliseconds: localMilliseconds)
    readingMilliseconds = stampMilliseconds
  }
}
