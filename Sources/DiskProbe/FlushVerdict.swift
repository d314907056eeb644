// Owns what the figures of a disk mean for a node that is to run on it.
//
// It must never call a disk good on too few samples, nor a fast one safe: what answers in less time than any medium
// needs has not been written to one. It states its reasons, so that who disagrees can see where.

package struct FlushVerdict: Sendable, Equatable, Codable {
  package enum Grade: String, Sendable, Codable {
    /// One flush in a hundred is well below what etcd asks for, whatever else goes on.
    case good
    /// Below what etcd asks for while the machine is calm, and not far below, or not when others work too.
    case marginal
    /// Not below what etcd asks for.
    case bad
    /// A cache or memory answers in the disk's place. A power cut would lose what was acknowledged.
    case tooFast = "too fast to be true"
    /// Too few samples.
    case undecided
  }

  package var grade: Grade
  /// The worst 99th percentile of the cells that were judged while the machine was calm.
  package var p99Nanoseconds: UInt64?
  package var reasons: [String]
  /// What to do.
  package var advice: [String]

  /// etcd's hardware guide asks for a 99th percentile of fdatasync below this, of writes of about 2300 bytes.
  package static let badFromNanoseconds: UInt64 = 10_000_000
  /// Half of it: what the next neighbour or the next version of a kernel may take away.
  package static let marginalFromNanoseconds: UInt64 = 5_000_000
  /// From here on the processors cannot be called idle.
  package static let disturbedFromShare = 0.2
  /// A flush as long as the default interval between two heartbeats holds one up.
  package static let stallFromNanoseconds: UInt64 = 100_000_000
  /// The fastest flash with a capacitor answers a flush in some 20 µs through a file system.
  package static let tooFastBelowNanoseconds: UInt64 = 15_000

  package init(_ series: [FlushSeries], on disk: ProbedDisk) {
    let evidence = Evidence(series)
    p99Nanoseconds = evidence.calm.compactMap { $0.waiting.percentile(99) }.max()
    if let doubts = evidence.doubts(of: disk) {
      grade = .tooFast
      reasons = doubts
    } else if let known = evidence.calm.compactMap(\.knownBad).max(by: { $0.nanoseconds < $1.nanoseconds }) {
      grade = .bad
      reasons = ["\(known.text): etcd asks for less than 10 ms"]
    } else if !evidence.calm.isEmpty, evidence.calm.allSatisfy({ $0.isSurelyBelow(Self.badFromNanoseconds) }) {
      let worries = evidence.worries
      grade = worries.isEmpty ? .good : .marginal
      let worst = evidence.calm.map { $0.waiting.percentile(99) ?? $0.waiting.maximumNanoseconds }.max() ?? 0
      reasons = ["99 of 100 flushes take at most \(milliseconds(worst)); etcd asks for less than 10 ms"] + worries
    } else {
      grade = .undecided
      let count = evidence.calm.map(\.waiting.count).min() ?? 0
      reasons = ["\(count) flushes are too few for a 99th percentile"]
    }
    if grade != .tooFast { reasons += evidence.disturbance + Self.remarks(on: disk) }
    advice = Self.advice(for: grade)
  }

  private static func remarks(on disk: ProbedDisk) -> [String] {
    if disk.isOnNetwork { return ["\(disk.fileSystem) is on a network: how durable a flush is, its server decides"] }
    guard let device = disk.device else {
      return ["the kernel names no device below \(disk.fileSystem), so nothing is known of a write cache"]
    }
    var remarks: [String] = []
    if disk.isVirtual == true {
      remarks.append("\(device) is a virtual disk: whether a flush outlives the host, the host's cache mode decides")
    }
    if disk.writeCache == "write through" {
      remarks.append(
        "the kernel sends \(device) no flushes (write through), which is right only if it has no volatile cache")
    }
    return remarks
  }

  private static func advice(for grade: Grade) -> [String] {
    switch grade {
    case .good: ["nothing: the default heartbeat (100 ms) and election timeout (1 s) have room"]
    case .marginal:
      [
        "keep other writers off this disk, and watch etcd_disk_wal_fsync_duration_seconds",
        "where leaders change for no reason, raise --heartbeat-interval and --election-timeout",
      ]
    case .bad:
      [
        "use a disk of this machine's own, flash with a capacitor (power loss protection), and with no other writers",
        "until then raise --election-timeout to at least ten times the slowest flush",
      ]
    case .tooFast:
      [
        "put the data directory on a disk; in a virtual machine have the host pass flushes on (not cache=unsafe)",
        "switch a volatile cache off, or prove with a real power cut that it is protected; then measure again",
      ]
    case .undecided: ["measure longer, with more --commits and --seconds"]
    }
  }
}

/// The series that say something about the disk for a log of consensus.
private struct Evidence {
  /// One writer, and processors that are free.
  var calm: [FlushSeries] = []
  /// Everything else about the same file.
  var strained: [FlushSeries] = []
  private var controls: [FlushSeries] = []

  /// Plain files only, since the log's own figure holds more than the disk; near the size that etcd's guide names; and
  /// of what such a log does, where that was measured: `fdatasync`, on blocks that are there.
  init(_ series: [FlushSeries]) {
    let files = series.filter { $0.cell.subject == .file }
    var judged = files.filter { $0.cell.method != .none }
    for preferred in [
      { (cell: FlushCell) in cell.method == .fdatasync }, { (cell: FlushCell) in cell.layout != .growing },
    ] where judged.contains(where: { preferred($0.cell) }) {
      judged = judged.filter { preferred($0.cell) }
    }
    func distance(_ bytes: Int) -> Double {
      let ratio = Double(bytes) / Double(FlushMatrix.usualBytes)
      return max(ratio, 1 / ratio)
    }
    guard let bytes = judged.map(\.cell.bytes).min(by: { distance($0) < distance($1) }) else { return }
    judged = judged.filter { $0.cell.bytes == bytes }
    controls = files.filter { $0.cell.method == .none && $0.cell.bytes == bytes }
    calm = judged.filter { $0.cell.writers == 1 && $0.cell.processors == .idle }
    if calm.isEmpty { calm = judged } else { strained = judged.filter { !calm.contains($0) } }
  }

  /// Why the disk cannot have done what it says; nil when it can.
  func doubts(of disk: ProbedDisk) -> [String]? {
    if disk.isInMemory { return ["\(disk.fileSystem) keeps files in memory: nothing is written to any disk"] }
    var doubts: [String] = []
    if disk.hasFlushesOff {
      doubts.append("\(disk.mountPoint) is mounted with flushes switched off (\(disk.mountOptions))")
    }
    let control = controls.compactMap { $0.commit.percentile(50) }.min()
    let waits = (calm + strained).compactMap { $0.medianWait(beyond: control ?? 0) }
    if let wait = waits.min(), wait < max(FlushVerdict.tooFastBelowNanoseconds, control ?? 0) {
      let beside = control.map { ", and the control without a flush \(microseconds($0))" } ?? ""
      doubts.append("half of all flushes take less than \(microseconds(wait))\(beside): no medium answers so soon")
      doubts.append(Self.claim(of: disk))
    }
    return doubts.isEmpty ? nil : doubts
  }

  private static func claim(of disk: ProbedDisk) -> String {
    let device = disk.device ?? disk.fileSystem
    return switch disk.writeCache {
    case "write back": "the kernel sends flushes to \(device) (write back), so it is there that they are not waited for"
    case "write through":
      "the kernel takes \(device) for a device without a volatile cache (write through) and sends it no flushes"
    default: "the kernel says nothing of a write cache of \(device)"
    }
  }

  /// What else was in the figures than the disk.
  var disturbance: [String] {
    let shares = calm.compactMap(\.shareOfOthers)
    guard let most = shares.max(), most >= FlushVerdict.disturbedFromShare else { return [] }
    return [
      "other programs took up to \(Int((most * 100).rounded())) % of the processors meanwhile: measure again at rest to "
        + "know the disk alone"
    ]
  }

  /// What keeps a disk that is fast enough from being good.
  var worries: [String] {
    var worries: [String] = []
    for series in calm {
      if let p99 = series.waiting.percentile(99), p99 >= FlushVerdict.marginalFromNanoseconds {
        worries.append(
          "\(series.cell.text): 1 flush in 100 takes \(milliseconds(p99)) or longer, which leaves little room")
      }
    }
    worries += strained.compactMap { $0.knownBad?.text }
    let all = calm + strained
    if let longest = all.map(\.waiting.maximumNanoseconds).max(), longest >= FlushVerdict.stallFromNanoseconds {
      worries.append("one flush took \(milliseconds(longest)), as long as a heartbeat's interval (100 ms) or longer")
    }
    return worries
  }
}

extension FlushSeries {
  /// What etcd's guide is about: the flush, or the call that does both.
  fileprivate var waiting: FlushDistribution { flush ?? commit }

  /// Half of all flushes take less; where one call does both, without what a write takes.
  fileprivate func medianWait(beyond control: UInt64) -> UInt64? {
    flush.map { $0.percentile(50) } ?? commit.percentile(50).map { $0 - min($0, control) }
  }

  /// A percentile of at most 99 that is over the limit, so that the 99th surely is.
  fileprivate var knownBad: (nanoseconds: UInt64, text: String)? {
    for (percent, share) in [(99.0, "1 flush in 100"), (90, "1 flush in 10"), (50, "every other flush")] {
      if let value = waiting.percentile(percent), value >= FlushVerdict.badFromNanoseconds {
        return (value, "\(cell.text): \(share) takes \(milliseconds(value)) or longer")
      }
    }
    return nil
  }

  /// With fewer samples than a 99th percentile needs, the largest of all still bounds it. Ten tell nothing either way.
  fileprivate func isSurelyBelow(_ nanoseconds: UInt64) -> Bool {
    waiting.percentile(50) != nil && (waiting.percentile(99) ?? waiting.maximumNanoseconds) < nanoseconds
  }
}
