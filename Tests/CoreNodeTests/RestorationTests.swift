// Data directories made from backups: what is in them, and what is refused before anything is made.

import CoordinationCore
import CoreNode
import Foundation
import LogStorage
import RaftCore
import Testing

@Suite("A restore")
struct RestorationTests {
  private let peers = ["a", "b", "c"].enumerated().map { Peer(name: $1, host: "127.0.0.1", port: 2380 + $0) }

  private func options(_ name: String, _ directory: String) -> RestoreOptions {
    var options = RestoreOptions()
    (options.name, options.dataDirectory, options.peers, options.clusterToken) = (name, directory, peers, "token")
    return options
  }

  private func identity(_ report: RestoreReport) -> Identity {
    Identity(clusterID: report.clusterID, nodeID: NodeID(report.memberID), incarnation: report.incarnation)
  }

  @Test("makes for each member a log that begins with the file's state, the same on all but for the member")
  func members() throws {
    let directory = try Sample.Directory()
    let state = Sample.state(keys: 300, valueBytes: 2000)
    let file = try directory.write(try Sample.backup(of: state), "backup")
    var points: [SnapshotPoint?] = []
    var digests: Set<UInt64> = []
    for name in ["a", "b", "c"] {
      let report = try Restoration.run(file, options(name, directory(name) + "/"))
      #expect(report.incarnation == Sample.header.incarnation + 1 && report.figures.grants == 1)
      let (storage, restored) = try LogStorage.open(directory: directory(name) + "/log", identity: identity(report))
      points.append(restored.snapshot)
      #expect(restored.hardState.term == Term(Sample.header.term) && restored.hardState.votedFor == nil)
      #expect(restored.lastIndex == restored.snapshot?.index && restored.damage == nil)
      let newest = try #require(storage.snapshots.newest())
      let content = try storage.snapshots.content(of: newest)
      var reader = StateReader()
      while let piece = try content.next() { try reader.read(piece) }
      let found = try reader.finish()
      digests.insert(found.digest)
      #expect(try found.store.digest(through: 0) == state.store.digest(through: 0))
      #expect(found.leases[7]?.deadlineMilliseconds == Sample.header.clockMilliseconds + 60_000)
      storage.close()
      let member = try #require(FileManager.default.contents(atPath: directory(name) + "/member.json"))
      #expect(String(decoding: member, as: UTF8.self).contains("\"token\" : \"token\""))
    }
    #expect(digests.count == 1 && Set(points.map { $0?.membership.voters }).count == 1)
    #expect(points.allSatisfy { $0 == points[0] })
    #expect(points[0]?.index == Index(Sample.header.index + Restoration.indexesLeftOut))
    #expect(directory.names == ["a", "b", "backup", "c"], "nothing is left beside")
  }

  @Test("keeps the cluster's id where it is told to, and takes an incarnation that is higher")
  func identities() throws {
    let directory = try Sample.Directory()
    let file = try directory.write(try Sample.backup(of: Sample.state()), "backup")
    var wanted = options("a", directory("a"))
    wanted.keepsClusterID = true
    wanted.incarnation = 9
    let report = try Restoration.run(file, wanted)
    #expect(String(report.clusterID, radix: 16) == Sample.header.clusterID && report.incarnation == 9)
    wanted.dataDirectory = directory("b")
    for incarnation in [0, 1, Sample.header.incarnation, UInt64.max] {
      wanted.incarnation = incarnation
      #expect(throws: NodeError.self) { try Restoration.run(file, wanted) }
    }
    #expect(directory.names == ["a", "backup"])
  }

  @Test("of a file that is not whole, or to a directory that is there, makes nothing")
  func refuses() throws {
    let directory = try Sample.Directory()
    let bytes = try Sample.backup(of: Sample.state())
    var damaged = bytes
    damaged[bytes.count / 2] ^= 1
    for wrong in [damaged, Array(bytes.dropLast()), Array(bytes.dropLast(56)), [], Array("not one".utf8)] {
      let file = try directory.write(wrong, "backup")
      #expect(throws: NodeError.self) { try Restoration.run(file, options("a", directory("a"))) }
      #expect(directory.names == ["backup"])
    }
    let file = try directory.write(bytes, "backup")
    #expect(throws: NodeError.self) { try Restoration.run(directory("absent"), options("a", directory("a"))) }
    #expect(throws: NodeError.self) { try Restoration.run(file, options("d", directory("a"))) }
    try FileManager.default.createDirectory(atPath: directory("a"), withIntermediateDirectories: false)
    _ = try directory.write([1], "a/kept")
    #expect(throws: NodeError.self) { try Restoration.run(file, options("a", directory("a"))) }
    #expect(directory.names == ["a", "backup"] && FileManager.default.fileExists(atPath: directory("a/kept")))
  }

  @Test("takes an empty directory, and removes what an interrupted one left")
  func interrupted() throws {
    let directory = try Sample.Directory()
    let file = try directory.write(try Sample.backup(of: Sample.state()), "backup")
    try FileManager.default.createDirectory(atPath: directory("a"), withIntermediateDirectories: false)
    try FileManager.default.createDirectory(atPath: directory("a.restoring/log"), withIntermediateDirectories: true)
    _ = try directory.write([1, 2, 3], "a.restoring/log/data.mdb")
    let report = try Restoration.run(file, options("a", directory("a")))
    #expect(directory.names == ["a", "backup"])
    #expect(try LogStorage.existingIdentity(directory: directory("a/log")) == identity(report))
  }

  @Test("leaves revisions out, and takes keys and leases from a file of etcd's")
  func etcd() throws {
    let directory = try Sample.Directory()
    let state = Sample.state(keys: 100)
    let bytes = Sample.etcdFile(of: state)
    let file = try directory.write(bytes, "etcd.db")
    // Without the sum behind it, it may be a copy or may be cut short.
    #expect(throws: NodeError.self) { try Restoration.run(file, options("a", directory("a"))) }
    var wanted = options("a", directory("a"))
    (wanted.skipsHashCheck, wanted.revisionBump, wanted.marksCompacted) = (true, 5000, true)
    let report = try Restoration.run(file, wanted)
    #expect(report.incarnation == 1 && report.saved == nil && report.figures.leases == 2)
    #expect(report.revision == state.revision - 1 + 5000)
    let status = try BackupStatus(of: file)
    #expect(status.kind == "etcd" && status.isIntact && status.etcd?.hasChecksum == false)
    _ = try directory.write(bytes + [UInt8](repeating: 0, count: 32), "etcd.db")
    let wrongSum = try BackupStatus(of: file)
    #expect(!wrongSum.isIntact && wrongSum.problem?.contains("SHA-256") == true)
  }

  @Test("status tells what a file of ours holds, and of a damaged one what its header says")
  func status() throws {
    let directory = try Sample.Directory()
    let state = Sample.state(keys: 30)
    var bytes = try Sample.backup(of: state)
    let whole = try BackupStatus(of: try directory.write(bytes, "backup"))
    #expect(whole.isIntact && whole.kind == "portcullis" && whole.header == Sample.header && whole.problem == nil)
    #expect(whole.counts?.keys == 29 && whole.counts?.grants == 1 && whole.counts?.leases == 2)
    let digest = try state.store.digest(through: 0)
    #expect(whole.hash == UInt32(truncatingIfNeeded: digest ^ (digest >> 32)) && whole.hashRevision == state.revision)
    #expect(whole.sha256?.count == 64)
    bytes[bytes.count - 60] ^= 1
    let damaged = try BackupStatus(of: try directory.write(bytes, "backup"))
    #expect(!damaged.isIntact && damaged.problem != nil && damaged.counts == nil && damaged.header == Sample.header)
    #expect(throws: NodeError.self) { try BackupStatus(of: directory("absent")) }
  }
}
