// Owns the making of a node's data directory from a backup: the beginning of a new cluster that has the old one's state.
//
// Must never: make anything before all of the file was found whole; leave, whenever it is cut off, a directory from which a
// node would start; come to another state, or another identity of the cluster, on another member's machine. So chance and
// clocks have no part in it but in the node's own disk.

package import CoordinationCore
import Foundation
import Glibc
import LogStorage
import RaftCore

package struct RestoreOptions: Sendable {
  package var name = "default"
  package var dataDirectory = ""
  /// The new cluster, this node in it.
  package var peers: [Peer] = []
  package var clusterToken = "portcullis-cluster"
  /// Of the new cluster; nil for one more than the file's.
  package var incarnation: UInt64?
  /// Takes the old cluster's id, so that gateways whose databases are pinned to it go on.
  package var keepsClusterID = false
  package var revisionBump: Int64 = 0
  package var marksCompacted = false
  /// Takes a file of etcd's without a sum.
  package var skipsHashCheck = false

  package init() {}
}

/// What was made, for people.
package struct RestoreReport: Sendable {
  package let clusterID: UInt64
  package let memberID: UInt64
  package let incarnation: UInt64
  /// Nil of a file of etcd's.
  package let saved: BackupHeader?
  package let revision: Revision
  package let figures: StateFigures
  /// What the file has and the new cluster has not.
  package let leftOut: [String]
}

package enum Restoration {
  /// How far the log's indexes go on behind the file's. Clients' ids and places in queues are indexes: those that the old
  /// cluster gave out after the backup was taken must not be given out again.
  package static let indexesLeftOut: UInt64 = 1 << 32
  private static let temporarySuffix = ".restoring"

  /// Makes the data directory. Takes as long, and as much memory, as a node takes to start from the file.
  package static func run(_ path: String, _ wanted: RestoreOptions) throws(NodeError) -> RestoreReport {
    var options = wanted
    while options.dataDirectory.count > 1, options.dataDirectory.hasSuffix("/") { options.dataDirectory.removeLast() }
    try checkTarget(options.dataDirectory)
    let map = try ClusterMap(
      NodeConfiguration(
        name: options.name, dataDirectory: options.dataDirectory, clientHost: "", clientPort: 0,
        peers: options.peers), token: options.clusterToken)
    let file = try OpenFile(path)
    do {
      let loaded = try BackupFile.load(file, skippingHash: options.skipsHashCheck)
      let plan = try plan(loaded, options, map)
      let temporary = options.dataDirectory + temporarySuffix
      let lock = try takeTemporary(temporary)
      defer { Glibc.close(lock) }
      do {
        try make(plan, in: temporary, options, map)
        try publish(temporary, as: options.dataDirectory)
      } catch {
        try? FileManager.default.removeItem(atPath: temporary)
        throw error
      }
      return RestoreReport(
        clusterID: plan.identity.clusterID, memberID: plan.identity.nodeID.rawValue,
        incarnation: plan.identity.incarnation, saved: loaded.header, revision: plan.state.revision,
        figures: plan.state.figures, leftOut: leftOut(of: loaded))
    } catch let error as BackupError {
      throw .storage("nothing was restored: \(path) cannot be used: \(error)")
    } catch let error as NodeError {
      throw error
    } catch {
      throw .storage("nothing was restored: \(error)")
    }
  }

  // MARK: What is to be made

  private struct Plan {
    var identity: Identity
    var point: SnapshotPoint
    var state: Coordination
  }

  private static func plan(
    _ loaded: LoadedBackup, _ options: RestoreOptions, _ map: ClusterMap
  ) throws(NodeError) -> Plan {
    let saved = loaded.header
    let clock = saved?.clockMilliseconds ?? 0
    var state = loaded.state
    do throws(StateError) {
      try state.beginAnew(
        clockMilliseconds: clock, leavingOutRevisions: options.revisionBump, compacting: options.marksCompacted)
    } catch {
      throw .configuration("--bump-revision \(options.revisionBump) is too much for revision \(loaded.state.revision)")
    }
    let index = (saved?.index ?? loaded.etcd?.index ?? 0) &+ indexesLeftOut
    guard index < 1 << 62 else { throw .storage("the file's log has come to index \(index), which cannot be") }
    let point = SnapshotPoint(
      index: Index(index), term: Term(max(1, min(saved?.term ?? loaded.etcd?.term ?? 1, 1 << 62))),
      clockMilliseconds: clock, membership: Membership(voters: map.founders, learners: []))
    let identity = Identity(
      clusterID: try clusterID(saved, options, map), nodeID: map.localID,
      incarnation: try incarnation(after: saved, options))
    return Plan(identity: identity, point: point, state: state)
  }

  private static func incarnation(
    after saved: BackupHeader?, _ options: RestoreOptions
  ) throws(NodeError) -> UInt64 {
    let old = saved?.incarnation ?? 0
    let new = options.incarnation ?? old + 1
    guard new > old, new <= UInt64(Int64.max) else {
      throw .configuration(
        "--incarnation \(new) is not above the saved cluster's \(old): tokens of the old cluster would count as much as the"
          + " new one's")
    }
    return new
  }

  private static func clusterID(
    _ saved: BackupHeader?, _ options: RestoreOptions, _ map: ClusterMap
  ) throws(NodeError) -> UInt64 {
    guard options.keepsClusterID else { return map.clusterID }
    guard let id = saved.flatMap({ UInt64($0.clusterID, radix: 16) }) else {
      throw .configuration("--keep-cluster-id: the file is etcd's and names no cluster")
    }
    return id
  }

  private static func leftOut(of loaded: LoadedBackup) -> [String] {
    guard let etcd = loaded.etcd else { return [] }
    var parts: [String] = []
    if etcd.users + etcd.roles > 0 || etcd.isAuthEnabled {
      parts.append(
        "\(etcd.users) users and \(etcd.roles) roles\(etcd.isAuthEnabled ? "; authentication was on and is off now" : "")"
      )
    }
    if etcd.alarms > 0 { parts.append("\(etcd.alarms) alarms") }
    if loaded.leaselessPuts > 0 { parts.append("the lease of \(loaded.leaselessPuts) puts, which had ended") }
    if etcd.compactedRevision > 0 {
      parts.append("reads at revision \(etcd.compactedRevision), the compacted one itself")
    }
    return parts
  }

  // MARK: Making it

  private static func make(
    _ plan: Plan, in directory: String, _ options: RestoreOptions, _ map: ClusterMap
  ) throws {
    let log = directory + "/log"
    let storage = try LogStorage.open(directory: log, identity: plan.identity).storage
    defer { storage.close() }
    let writer = try storage.snapshots.begin(plan.point)
    do {
      var encoder = StateWriter(plan.state)
      while let piece = encoder.next(maxBytes: BackupFormat.pieceBytes) { try writer.append(piece) }
      _ = try writer.finish()
    } catch {
      writer.abandon()
      throw error
    }
    let base = LogBase(
      index: plan.point.index, term: plan.point.term, clockMilliseconds: plan.point.clockMilliseconds)
    try storage.write([
      Persist(
        sequence: 1, hardState: HardState(term: plan.point.term, votedFor: nil), removeFrom: nil, base: base,
        entries: [])
    ])
    try MemberFile(name: options.name, token: options.clusterToken, identity: plan.identity, founders: map.founders)
      .write(in: directory)
  }

  // MARK: The directory

  private static func checkTarget(_ path: String) throws(NodeError) {
    guard !path.isEmpty else { throw .configuration("--data-dir names no directory") }
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    let names = try? FileManager.default.contentsOfDirectory(atPath: path)
    guard let names, names.isEmpty else {
      throw .configuration(
        "\(path) is there already and is not empty: a restore makes a new directory, so name another one, or move it away"
      )
    }
  }

  /// A directory of this restore alone. What an interrupted one left in it is removed.
  /// - Returns: the descriptor that holds it.
  private static func takeTemporary(_ path: String) throws(NodeError) -> Int32 {
    func failure(_ doing: String) -> NodeError { .storage("\(doing) \(path): \(String(cString: strerror(errno)))") }
    let parent = FilePath.parent(of: path)
    do {
      try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
    } catch {
      throw .storage("\(parent) cannot be made: \(error.localizedDescription)")
    }
    guard mkdir(path, 0o700) == 0 || errno == EEXIST else { throw failure("making") }
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("opening") }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      Glibc.close(descriptor)
      throw .storage("\(path) is in use: another restore to this directory is under way")
    }
    do {
      for name in try FileManager.default.contentsOfDirectory(atPath: path) {
        try FileManager.default.removeItem(atPath: path + "/" + name)
      }
    } catch {
      Glibc.close(descriptor)
      throw .storage("what an interrupted restore left in \(path) cannot be removed: \(error.localizedDescription)")
    }
    return descriptor
  }

  /// Gives the whole directory its name. A directory that is not empty is never replaced.
  private static func publish(_ temporary: String, as path: String) throws(NodeError) {
    func failure(_ doing: String) -> NodeError { .storage("\(doing) \(path): \(String(cString: strerror(errno)))") }
    try sync(temporary)
    guard rename(temporary, path) == 0 else { throw failure("naming") }
    try sync(FilePath.parent(of: path))
  }

  private static func sync(_ directory: String) throws(NodeError) {
    let descriptor = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    defer { if descriptor >= 0 { Glibc.close(descriptor) } }
    guard descriptor >= 0, fsync(descriptor) == 0 else {
      throw .storage("flushing \(directory): \(String(cString: strerror(errno)))")
    }
  }
}
