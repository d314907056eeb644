// Owns the bound on the store's size, etcd's `--quota-backend-bytes`: who is refused at it, and when the refusing ends.
//
// There are two refusals, and neither lets members' states differ. A node looks before it proposes, by the newest state
// that it has: what it turns away is in nobody's log. That look may be a little late, by what is under way at that moment,
// and nodes may have been given different quotas. So a node whose store is at its quota also raises an alarm, which is an
// entry like any other, and from that entry on every member refuses the same commands when it applies them. Nothing that is
// applied ever asks for a node's own quota: the alarm says it.
//
// Unlike etcd's, the alarm ends by itself: whoever leads disarms it when deletions and a compaction have made a twentieth
// of the quota free, or when the member is gone. A node that was started with another quota disarms the one with the old.

package import CoordinationCore
import Logging
import RaftCore

package struct Quota: Sendable, Equatable {
  /// etcd's default: 2 GiB.
  package static let defaultBytes: UInt64 = 2 << 30

  /// Nil where the store may grow until memory ends.
  package let bytes: UInt64?

  /// - Parameter flag: as etcd reads it: 0 is the default, below it there is no quota.
  package init(flag: Int64 = 0) {
    bytes = flag < 0 ? nil : flag == 0 ? Self.defaultBytes : UInt64(flag)
  }

  /// An alarm of such a quota ends when the store is smaller than this. A quota that ended at its own edge would be
  /// raised and disarmed with every other put.
  static func end(of bytes: UInt64) -> UInt64 { bytes - bytes / 20 }

  /// From here on operators are warned.
  static func warning(of bytes: UInt64) -> UInt64 { bytes / 5 * 4 }

  /// Whether a command may be proposed beside a store of this size. It costs a look at the command's kind, and at its
  /// lengths if it puts something.
  package func admits(_ command: Command, storeBytes: Int) -> Bool {
    guard let bytes, let needed = command.neededBytes else { return true }
    return UInt64(storeBytes) + UInt64(needed) <= bytes
  }
}

/// Raises and disarms the alarms, ten looks a second. Runs on the loop's thread.
struct QuotaKeeping {
  private static let retryMilliseconds: UInt64 = 2000

  private var proposedMilliseconds: UInt64?
  private var proposed: AlarmChange?
  private var isWarned = false
  /// A request was turned away here, and no alarm has said so yet.
  private var isRefusing = false
  /// As of the last look.
  private var alarms: [Alarm] = []

  mutating func run(on loop: CoreLoop, localMilliseconds now: UInt64) {
    let size = UInt64(loop.state.store.sizeBytes)
    if loop.publication.takeQuotaRefusal() { isRefusing = true }
    warn(loop, size)
    tell(loop, size)
    guard loop.leadership.leader != nil, loop.appliedMembership.contains(loop.localID),
      let change = due(on: loop, size)
    else { return }
    if change == proposed, let last = proposedMilliseconds, now < last + Self.retryMilliseconds { return }
    proposed = change
    proposedMilliseconds = now
    loop.propose(.alarm(change))
  }

  /// One change at a look: there are few.
  private mutating func due(on loop: CoreLoop, _ size: UInt64) -> AlarmChange? {
    let (own, quota) = (loop.localID.rawValue, loop.parts.configuration.quota.bytes)
    let leads = loop.leadership.role == .leader && loop.lastAppliedTerm == loop.leadership.term
    let over = alarms.first { alarm in
      if alarm.member == own, alarm.quotaBytes != quota { return true }
      return leads
        && (size < Quota.end(of: alarm.quotaBytes) || !loop.appliedMembership.contains(NodeID(alarm.member)))
    }
    if let over { return .disarm(over) }
    guard let quota, size >= Quota.end(of: quota) else {
      isRefusing = false
      return nil
    }
    let alarm = Alarm(quotaBytes: quota, member: own)
    guard !alarms.contains(alarm) else {
      isRefusing = false
      return nil
    }
    // Where another is full with as large a quota, so is this one: it says so, that operators see whom it concerns.
    let isFull = size > quota || isRefusing || alarms.contains { $0.quotaBytes >= quota }
    return isFull ? .raise(alarm) : nil
  }

  private mutating func warn(_ loop: CoreLoop, _ size: UInt64) {
    guard let quota = loop.parts.configuration.quota.bytes else { return }
    let limit = Quota.warning(of: quota)
    // A twentieth below, so that a size at the limit is not told of again and again.
    if size < limit - limit / 20 { isWarned = false }
    guard size >= limit, !isWarned else { return }
    isWarned = true
    loop.parts.logger.warning(
      """
      the store has \(size) of the \(quota) bytes of --quota-backend-bytes: at the quota nothing more is put. Delete \
      keys, compact (etcdctl compact, --auto-compaction-retention), or raise the quota
      """)
  }

  /// Says in the log when an alarm has come or gone.
  private mutating func tell(_ loop: CoreLoop, _ size: UInt64) {
    let now = loop.state.alarms.filter { $0.kind == .quota }
    guard now != alarms else { return }
    for alarm in now where !alarms.contains(alarm) {
      loop.parts.logger.error(
        """
        the store has reached the quota of member \(String(alarm.member, radix: 16)), \(alarm.quotaBytes) bytes: nothing \
        more is put until deletions and a compaction have made it smaller than \(Quota.end(of: alarm.quotaBytes))
        """)
    }
    if now.isEmpty {
      loop.parts.logger.notice("the store has room again, with \(size) bytes: puts are taken")
    }
    alarms = now
  }
}
