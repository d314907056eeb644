// Owns what is done to a log while no node runs on it: a compact copy, and making a new cluster of what one node has.
//
// It must never: touch a directory that a node holds; leave half a copy under the copy's name; make a new cluster from
// a log that lacks what it once acknowledged.

import Glibc
package import RaftCore

extension LogStorage {
  /// Copies a log to `target` without the space that its file has come to take and no longer needs: settled, with its
  /// snapshots, with the same identity and birth. `target` must not exist, or be an empty directory.
  package static func copyCompacted(
    from source: String, to target: String, options: Options = Options()
  ) throws(StorageError) {
    let storage = try openOffline(source, options)
    defer { storage.close() }
    guard try SnapshotStore.names(in: target).isEmpty else { throw .notEmpty(path: target) }
    let partial = target + ".partial"
    guard mkdir(partial, 0o700) == 0 else {
      throw errno == EEXIST ? .notEmpty(path: partial) : .fromSystem(errno, operation: "making", path: partial)
    }
    do throws(StorageError) {
      try storage.environment.copyCompacted(to: partial)
      _ = try Journal(directory: partial, capacityBytes: options.journalBytes, birth: storage.birth)
      try copySnapshots(from: source, to: partial)
      try LogDirectory.sync(partial)
      guard rename(partial, target) == 0 else { throw .fromSystem(errno, operation: "naming", path: target) }
      try LogDirectory.sync(target + "/..")
    } catch {
      removeCopy(partial)
      throw error
    }
  }

  /// Makes the log in `directory` that of a new cluster: new identity, a term of its own without a vote, and at the
  /// log's end a membership that says who is in it. All of it in one transaction. Every entry that the log has is to be
  /// committed in the new cluster.
  ///
  /// - Parameters:
  ///   - new: another cluster's id and a higher incarnation than the log has; the node may be another one too.
  ///   - membershipPayload: an encoded `MembershipRecord`.
  /// - Returns: the entry at the end.
  @discardableResult
  package static func forceNewCluster(
    directory path: String, identity new: Identity, membershipPayload: [UInt8], clockMilliseconds: UInt64,
    options: Options = Options()
  ) throws(StorageError) -> Entry {
    let storage = try openOffline(path, options)
    defer { storage.close() }
    let found = try storage.environment.read { (transaction) throws(StorageError) in
      try TreeFacts.identity(in: transaction, path: path)
    }
    guard new.clusterID != found.identity.clusterID, new.incarnation > found.identity.incarnation else {
      throw .notNewer(path: path, found: found.identity, wanted: new)
    }
    var log = try storage.claim()
    let term = log.hardState.term.next
    let entry = Entry(
      index: log.lastIndex.next, term: term, clockMilliseconds: max(clockMilliseconds, log.newestClockMilliseconds),
      kind: .membership, payload: membershipPayload)
    let persist = Persist(
      sequence: 0, hardState: HardState(term: term, votedFor: nil), removeFrom: nil, entries: [entry])
    let bytes = LogState.pageBytesNeeded(for: [persist])
    try storage.change(&log, forBytes: bytes) { (log, transaction) throws(StorageError) in
      try log.apply([persist], in: transaction)
      try transaction.put(key: Key.identity, bytes: IdentityRecord.bytes) {
        IdentityRecord.write(new, birth: found.birth, to: $0)
      }
    }
    return entry
  }

  /// Opens a log as whoever's it is, settled and whole.
  private static func openOffline(_ path: String, _ options: Options) throws(StorageError) -> LogStorage {
    guard let identity = try existingIdentity(directory: path) else {
      throw .notALog(path: path, reason: "nothing is there")
    }
    var options = options
    options.refusesDamage = true
    return try open(directory: path, identity: identity, options: options).storage
  }

  private static func copySnapshots(from source: String, to target: String) throws(StorageError) {
    let names = try SnapshotStore.names(in: source + "/snapshots")
    guard !names.isEmpty else { return }
    guard mkdir(target + "/snapshots", 0o700) == 0 else {
      throw .fromSystem(errno, operation: "making", path: target + "/snapshots")
    }
    for name in names { try copyFile(from: "\(source)/snapshots/\(name)", to: "\(target)/snapshots/\(name)") }
    try LogDirectory.sync(target + "/snapshots")
  }

  private static func copyFile(from source: String, to target: String) throws(StorageError) {
    let input = Glibc.open(source, O_RDONLY | O_CLOEXEC)
    guard input >= 0 else { throw .fromSystem(errno, operation: "opening", path: source) }
    defer { Glibc.close(input) }
    let output = Glibc.open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard output >= 0 else { throw .fromSystem(errno, operation: "making", path: target) }
    defer { Glibc.close(output) }
    var block = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = Glibc.read(input, &block, block.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw .fromSystem(errno, operation: "reading", path: source) }
      if count == 0 { break }
      var written = 0
      while written < count {
        let more = block.withUnsafeBytes { Glibc.write(output, $0.baseAddress.map { $0 + written }, count - written) }
        if more < 0, errno == EINTR { continue }
        guard more > 0 else { throw .fromSystem(errno, operation: "writing", path: target) }
        written += more
      }
    }
    guard fsync(output) == 0 else { throw .fromSystem(errno, operation: "flushing", path: target) }
  }

  private static func removeCopy(_ path: String) {
    for name in (try? SnapshotStore.names(in: path + "/snapshots")) ?? [] { unlink("\(path)/snapshots/\(name)") }
    rmdir(path + "/snapshots")
    unlink(path + "/" + LogDirectory.dataFileName)
    unlink(path + "/" + Journal.fileName)
    rmdir(path)
  }
}
