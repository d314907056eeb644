// More files than a gateway keeps open: opened when asked for, closed when idle, and never open twice.

import FencingCore
import Foundation
import Gateway
import Testing
import Tokens

@Suite("Many databases")
struct ManyDatabasesTests {
  private func limits(open: Int) -> GatewayLimits {
    var limits = GatewayLimits()
    limits.openDatabases = open
    limits.engine.readers = 1
    return limits
  }

  private func declarations(_ folder: Folder, _ count: Int) -> [DatabaseDeclaration] {
    (0..<count).map { DatabaseDeclaration(name: "d\($0)", path: folder.file("d\($0).db"), isOpen: true) }
  }

  private func insert(_ shelf: DatabaseShelf, _ name: String) async throws {
    let slot = try #require(shelf.slot(name))
    let database = try await slot.lease()
    defer { slot.release() }
    let outcome = try await database.execute(
      WriteRequest(
        statements: [SQLStatement("CREATE TABLE IF NOT EXISTS t(a)"), SQLStatement("INSERT INTO t VALUES(1)")],
        claims: []))
    #expect(outcome.results.allSatisfy { $0.reason == nil })
  }

  @Test("of a thousand files, those that are asked for are opened, and the longest unused are closed again")
  func thousand() async throws {
    let folder = try Folder()
    let shelf = DatabaseShelf(declarations(folder, 1000), limits: limits(open: 20), logger: quietLogger)
    #expect(shelf.isLazy)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    for round in 0..<2 {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<100 { group.addTask { try await insert(shelf, "d\(index * 10)") } }
        try await group.waitForAll()
      }
      #expect(shelf.slots.count { $0.isOpen } == 100)
      // What was used last stays open.
      try await insert(shelf, "d500")
      #expect(await shelf.tidy() == 80)
      #expect(shelf.slots.count { $0.isOpen } == 20)
      #expect(try #require(shelf.slot("d500")).isOpen)
      #expect(try #require(shelf.slot("d10")).sums.commits == UInt64(round + 1))
    }
    await shelf.end()
    #expect(shelf.slots.allSatisfy { !$0.isOpen })
    #expect(try Raw.run(folder.file("d990.db"), "SELECT count(*) FROM t") == [["2"]])
    #expect(!FileManager.default.fileExists(atPath: folder.file("d990.db-wal")))
    await #expect(throws: OpenError.gatewayStopping) { _ = try await shelf.slot("d1")?.lease() }
  }

  @Test("a file in use is not closed, and one that is idle for long is")
  func idle() async throws {
    let folder = try Folder()
    var limits = limits(open: 1)
    limits.idleSeconds = 0
    let shelf = DatabaseShelf(declarations(folder, 2), limits: limits, logger: quietLogger)
    let slot = try #require(shelf.slot("d0"))
    let database = try await slot.lease()
    #expect(await shelf.tidy() == 0)
    #expect(slot.isOpen && slot.idleNanoseconds == nil)
    _ = try await database.query(ReadRequest(statements: [SQLStatement("SELECT 1")]))
    slot.release()
    #expect(await shelf.tidy() == 1)
    #expect(!slot.isOpen)
    await shelf.end()
  }

  @Test("whoever comes while a file is opened or closed waits for it, and the lock is taken once")
  func concurrentOpenAndClose() async throws {
    let folder = try Folder()
    let shelf = DatabaseShelf(declarations(folder, 2), limits: limits(open: 1), logger: quietLogger)
    let slot = try #require(shelf.slot("d0"))
    try await withThrowingTaskGroup(of: Void.self) { group in
      for index in 0..<200 {
        group.addTask { if index % 4 == 3 { await slot.closeIfIdle() } else { try await insert(shelf, "d0") } }
      }
      try await group.waitForAll()
    }
    await shelf.end()
    #expect(try Raw.run(folder.file("d0.db"), "SELECT count(*) FROM t") == [["150"]])
    #expect(slot.sums.writes == 150)
  }

  @Test("a file that cannot be opened fails its requests with a problem that names no path, until it can be")
  func unopened() async throws {
    try await withGateway(
      limits: limits(open: 1),
      databases: { folder in
        [
          DatabaseDeclaration(name: "orders", path: folder.file("orders.db")),
          DatabaseDeclaration(name: "late", path: folder.file("late/late.db"), isOpen: true),
        ]
      }
    ) { gateway in
      let failed = try await gateway.send(.POST, "/db/late/execute", #"["CREATE TABLE t(a)"]"#)
      #expect(failed.status == 503 && failed.problem == "urn:portcullis:problem:unopened")
      #expect(!failed.text.contains("late.db"))
      let directory = (gateway.path as NSString).deletingLastPathComponent + "/late"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
      #expect(try await gateway.send(.POST, "/db/late/execute", #"["CREATE TABLE t(a)"]"#).status == 200)
      let status = try await gateway.send(.GET, "/status")
      #expect(status.text.contains("\"file_open\":false") && status.text.contains("\"file_open\":true"))
      #expect(
        try await gateway.send(.GET, "/metrics").text.contains("portcullis_gateway_file_open{database=\"late\"} 1"))
    }
  }
}
