// Owns the reading of etcd's snapshots: what a file that `etcdctl snapshot save` made holds, and a state made of it.
//
// What is carried over: keys with all versions that are kept, and leases. What is not is counted and told: users and roles,
// alarms, members.

package import CoordinationCore
import Foundation
import Protocol

package struct EtcdSnapshot {
  /// What a file holds, for people.
  package struct Figures: Sendable, Equatable {
    package var revision: Revision = 0
    package var compactedRevision: Revision = 0
    /// Versions of keys, tombstones among them.
    package var versions = 0
    /// In all of its buckets: what etcd's own tool counts as keys.
    package var items = 0
    package var leases = 0
    package var alarms = 0
    package var users = 0
    package var roles = 0
    package var index: UInt64 = 0
    package var term: UInt64 = 0
    package var isAuthEnabled = false
  }

  private static let revisionBytes = 17

  package private(set) var figures = Figures()
  private var reader: BoltReader
  private var buckets: [String: BoltReader.Bucket] = [:]
  private var leases: [LeaseID: Int64] = [:]

  /// Reads everything but the keys.
  /// - Parameter length: of the file without the sum behind it.
  package init(length: UInt64, _ source: @escaping ByteSource) throws(BackupError) {
    reader = try BoltReader(length: length, source)
    for bucket in try reader.buckets() { buckets[String(decoding: bucket.name, as: UTF8.self)] = bucket }
    for name in buckets.keys where name != "key" { figures.items += try count(name) }
    guard buckets["key"] != nil, buckets["meta"] != nil else {
      throw .damaged("it is a bbolt file without etcd's buckets \"key\" and \"meta\"")
    }
    try readMeta()
    try readLeases()
    figures.alarms = try count("alarm")
    figures.users = try count("authUsers")
    figures.roles = try count("authRoles")
    var isEnabled = false
    try forEach("auth") { item throws(BackupError) in
      if item.key.elementsEqual("authEnabled".utf8), item.value.elementsEqual([1]) { isEnabled = true }
    }
    figures.isAuthEnabled = isEnabled
  }

  private mutating func forEach(
    _ name: String, _ body: (BoltReader.Item) throws(BackupError) -> Void
  ) throws(BackupError) {
    guard let bucket = buckets[name] else { return }
    try reader.forEach(in: bucket, body)
  }

  private mutating func count(_ name: String) throws(BackupError) -> Int {
    var count = 0
    try forEach(name) { _ throws(BackupError) in count += 1 }
    return count
  }

  private mutating func readMeta() throws(BackupError) {
    var figures = figures
    try forEach("meta") { item throws(BackupError) in
      switch String(decoding: item.key, as: UTF8.self) {
      // A compaction that had begun and not ended has removed some of what is before it.
      case "scheduledCompactRev", "finishedCompactRev":
        guard item.value.count == Self.revisionBytes else { throw .damaged("the revision of its compaction") }
        figures.compactedRevision = max(figures.compactedRevision, try Self.revision(item.value))
      case "consistent_index": figures.index = Self.bigEndian(item.value.prefix(8))
      case "term": figures.term = Self.bigEndian(item.value.prefix(8))
      default: break
      }
    }
    self.figures = figures
  }

  /// etcd's message for a lease: its id in field 1, its time to live in seconds in field 2.
  private mutating func readLeases() throws(BackupError) {
    var found: [LeaseID: Int64] = [:]
    try forEach("lease") { item throws(BackupError) in
      guard item.key.count == 8 else { throw .damaged("a lease without an id") }
      let id = LeaseID(bitPattern: Self.bigEndian(item.key))
      guard let lease = try? Etcdserverpb_LeaseGrantRequest(leaseOfEtcd: Array(item.value)), id != 0, lease.id == id,
        lease.ttl >= 0
      else { throw .damaged("lease \(String(id, radix: 16)) cannot be read") }
      found[id] = min(lease.ttl, 9_000_000_000) * 1000
    }
    leases = found
    figures.leases = found.count
  }

  // MARK: Keys

  /// Visits every version of every key in the order of revisions. From then on `figures` has their number and the revision.
  package mutating func forEachChange(_ body: (ImportedChange) throws(BackupError) -> Void) throws(BackupError) {
    var (last, count): (Revision, Int) = (0, 0)
    try forEach("key") { item throws(BackupError) in
      let isDeletion = item.key.count == Self.revisionBytes + 1 && item.key.last == UInt8(ascii: "t")
      guard item.key.count == Self.revisionBytes || isDeletion else { throw .damaged("a revision that is none") }
      let revision = try Self.revision(item.key.prefix(Self.revisionBytes))
      guard let pair = try? Mvccpb_KeyValue(serializedBytes: Array(item.value)), !pair.key.isEmpty else {
        throw .damaged("the key at revision \(revision) cannot be read")
      }
      var change = ImportedChange(key: Bytes(pair.key), revision: revision)
      change.isDeletion = isDeletion
      if !isDeletion {
        guard pair.modRevision == revision else { throw .damaged("a key at revision \(revision) is of another one") }
        change.value = Bytes(pair.value)
        change.createRevision = pair.createRevision
        change.version = pair.version
        change.lease = pair.lease
      }
      last = revision
      count += 1
      try body(change)
    }
    figures.revision = max(last, figures.compactedRevision, 1)
    figures.items += count - figures.versions
    figures.versions = count
  }

  /// The state that the file's keys and leases make. `leaselessPuts` of it named a lease that is not there any more.
  package mutating func state(
    clockMilliseconds: UInt64
  ) throws(BackupError) -> (state: Coordination, leaselessPuts: Int) {
    do {
      var history = try ImportedHistory(compactedRevision: figures.compactedRevision, leases: leases)
      try forEachChange { change throws(BackupError) in
        do throws(ImportError) {
          try history.add(change)
        } catch {
          throw .damaged(error.description)
        }
      }
      let leaseless = history.leaselessPuts
      return (try history.finish(clockMilliseconds: clockMilliseconds), leaseless)
    } catch let error as BackupError {
      throw error
    } catch {
      throw .damaged("\(error)")
    }
  }

  private static func revision(_ bytes: ArraySlice<UInt8>) throws(BackupError) -> Revision {
    let main = bigEndian(bytes.prefix(8))
    guard main < 1 << 62, bytes.dropFirst(8).first == UInt8(ascii: "_") else {
      throw .damaged("a revision that is none")
    }
    return Revision(main)
  }

  private static func bigEndian(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
}

extension Etcdserverpb_LeaseGrantRequest {
  /// The stored lease has its id and its time to live in each other's fields.
  fileprivate init(leaseOfEtcd bytes: [UInt8]) throws {
    let stored = try Etcdserverpb_LeaseGrantRequest(serializedBytes: bytes)
    self.init()
    id = stored.ttl
    ttl = stored.id
  }
}
