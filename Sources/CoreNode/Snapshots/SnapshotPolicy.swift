// When a snapshot is due. A snapshot writes the whole state, so how often is worth it depends on the state's size: the
// log may grow to a fair part of it first (dissertation, section 5.1.2). Both together bound what a restart has to apply.

package struct SnapshotPolicy {
  private let entries: Int
  private let bytes: Int
  private let percent: Int
  /// After one that failed, such as for want of room, the next is not tried at once.
  private static let pauseAfterFailureNanoseconds: UInt64 = 10_000_000_000

  private var entriesSince = 0
  private var bytesSince = 0
  private var lastBytes: Int
  private var notBeforeNanoseconds: UInt64 = 0
  package private(set) var isUnderWay = false

  package init(_ configuration: NodeConfiguration, lastBytes: Int) {
    entries = configuration.snapshotEntries
    bytes = configuration.limits.snapshotLogBytes
    percent = configuration.snapshotLogPercent
    self.lastBytes = lastBytes
  }

  /// Takes note of an applied entry.
  package mutating func applied(bytes: Int) {
    entriesSince += 1
    bytesSince += bytes
  }

  package func isDue(nowNanoseconds: UInt64) -> Bool {
    if isUnderWay { return false }
    let isMuch = entriesSince >= entries && bytesSince >= lastBytes / 100 * percent || bytesSince >= max(bytes, lastBytes)
    return isMuch && nowNanoseconds >= notBeforeNanoseconds
  }

  package mutating func began() {
    isUnderWay = true
    entriesSince = 0
    bytesSince = 0
  }

  /// - Parameter bytes: the snapshot's size, or nil when it failed.
  package mutating func ended(bytes: Int?, nowNanoseconds: UInt64) {
    isUnderWay = false
    if let bytes {
      lastBytes = bytes
    } else {
      notBeforeNanoseconds = nowNanoseconds + Self.pauseAfterFailureNanoseconds
      // What was counted before is not in a snapshot, so one is due as soon as the pause is over.
      entriesSince += entries
      bytesSince += lastBytes
    }
  }

  /// The state became that of a snapshot which another node took.
  package mutating func installed(bytes: Int) {
    entriesSince = 0
    bytesSince = 0
    lastBytes = bytes
  }
}
