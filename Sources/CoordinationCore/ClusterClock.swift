// The cluster clock: how leases measure time without any two machines agreeing on it.
//
// The leader stamps every entry with its reading. A node that sees an entry knows that the leader's clock had at least
// that reading when the entry arrived, and goes on counting from there on its own boot-time clock. Its own reading is
// therefore never ahead of the leader's but for drift, so a lease that it expires as the next leader ends late, never
// early; and what is added at a change of leader is the time that the last entry took to arrive, not a whole TTL.
//
// A stall (the process stopped, the machine suspended) does not count: after one, the holders' renewals are still in
// the socket while their leases look long over. Counting no more than `longestStep` of it gives them time to arrive.

package struct ClusterClock: Sendable {
  /// The most that one reading may be ahead of the one before.
  package let longestStepMilliseconds: UInt64

  private var readingMilliseconds: UInt64
  private var readAtLocalMilliseconds: UInt64?
  private var newestStampMilliseconds: UInt64

  /// - Parameter startMilliseconds: the stamp of the newest entry in the log.
  package init(startMilliseconds: UInt64, longestStepMilliseconds: UInt64) {
    self.readingMilliseconds = startMilliseconds
    self.newestStampMilliseconds = startMilliseconds
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

  /// Takes note of an entry's stamp.
  /// - Parameter isLeading: whether this node's own clock is the one that stamps. Then it only follows what is ahead of it.
  ///   Otherwise it goes on counting from the newest stamp, even backwards: a clock that is a little faster than the
  ///   leader's would else gain on it for as long as both run, and end every lease early on the day when it leads.
  package mutating func observe(stampMilliseconds: UInt64, localMilliseconds: UInt64, isLeading: Bool = true) {
    let reading = now(localMilliseconds: localMilliseconds)
    newestStampMilliseconds = max(newestStampMilliseconds, stampMilliseconds)
    if stampMilliseconds > reading || !isLeading { readingMilliseconds = newestStampMilliseconds }
  }
}
