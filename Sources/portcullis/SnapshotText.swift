// How `snapshot` speaks to people: the table of a file's status, and the line that shows how far a save is.

import CoreNode
import Foundation
import Glibc
import Synchronization

/// A table with a row for each thing that the file tells.
struct StatusText {
  private var rows: [(String, String)] = []

  init(_ status: BackupStatus) {
    rows.append(("file", status.file))
    rows.append(("kind", status.kind ?? "unknown"))
    rows.append(("size", "\(status.bytes) bytes"))
    rows.append(("intact", status.isIntact ? "yes" : "NO: \(status.problem ?? "")"))
    if let sum = status.sha256 { rows.append(("sha-256", sum)) }
    if let header = status.header { add(header) }
    if let etcd = status.etcd { add(etcd) }
    if let counts = status.counts { add(counts) }
    if let hash = status.hash, let revision = status.hashRevision {
      rows.append(("hash", "\(hash) at revision \(revision)"))
    }
  }

  private mutating func add(_ header: BackupHeader) {
    rows.append(("taken", Self.date(header.takenAtMilliseconds) + " by member \(header.savedBy)"))
    rows.append(("written by", "portcullis \(header.portcullis)"))
    rows.append(("cluster", "\(header.clusterID), incarnation \(header.incarnation)"))
    rows.append(("revision", "\(header.revision), compacted \(header.compactedRevision)"))
    rows.append(("log", "index \(header.index), term \(header.term)"))
    for member in header.members {
      let role = member.isLearner ? ", learner" : ""
      rows.append(
        ("member", "\(member.id) \(member.name)\(role) \((member.peerURLs + member.clientURLs).joined(separator: " "))")
      )
    }
  }

  private mutating func add(_ etcd: BackupStatus.Etcd) {
    rows.append(("revision", "\(etcd.revision), compacted \(etcd.compactedRevision)"))
    rows.append(("log", "index \(etcd.index), term \(etcd.term)"))
    rows.append(("total keys", "\(etcd.totalKeys)"))
    rows.append(("users, roles", "\(etcd.users), \(etcd.roles)\(etcd.isAuthEnabled ? ", authentication on" : "")"))
    if !etcd.hasChecksum { rows.append(("checksum", "none: a restore wants --skip-hash-check")) }
  }

  private mutating func add(_ counts: BackupStatus.Counts) {
    rows.append(("keys", "\(counts.keys), \(counts.versions) versions, \(counts.storeBytes) bytes"))
    rows.append(("leases", "\(counts.leases)"))
    rows.append(("scopes", "\(counts.scopes), \(counts.grants) held, \(counts.waiting) waiting"))
    rows.append(("clients", "\(counts.clients)"))
    rows.append(("public keys", "\(counts.publicKeys)"))
    rows.append(("alarms", "\(counts.alarms)"))
  }

  var text: String {
    let width = rows.map(\.0.count).max() ?? 0
    return rows.map { name, value in
      name + String(repeating: " ", count: width - name.count + 2) + value
    }.joined(separator: "\n")
  }

  private static func date(_ milliseconds: Int64) -> String {
    Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601)
  }
}

/// One line on a terminal that is written over; nothing where stderr is something else.
final class ProgressLine: Sendable {
  private let isTerminal = isatty(STDERR_FILENO) == 1
  private let shown = Mutex<ContinuousClock.Instant?>(nil)

  func show(_ what: String, _ bytes: UInt64, of estimate: UInt64) {
    guard isTerminal else { return }
    let isDue = shown.withLock { last in
      let now = ContinuousClock.now
      if let last, now - last < .milliseconds(100) { return false }
      last = now
      return true
    }
    guard isDue else { return }
    let share = estimate > 0 ? ", about \(min(99, bytes * 100 / max(estimate, 1))) %" : ""
    write("\r\u{1B}[K\(what) \(Self.amount(bytes))\(share)")
  }

  func end() {
    if isTerminal, shown.withLock({ $0 != nil }) { write("\r\u{1B}[K") }
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }

  static func amount(_ bytes: UInt64) -> String {
    if bytes < 10_000 { return "\(bytes) bytes" }
    if bytes < 10 << 20 { return "\(bytes >> 10) KiB" }
    return "\(bytes >> 20) MiB"
  }
}
