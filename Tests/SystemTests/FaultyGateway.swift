// A core that nothing disturbs, and beside it a gateway in a process of its own whose disk fails as the test says.

import Conformance
import Foundation
import Glibc
import Protocol
import Testing
import Wire

final class FaultyGateway {
  let directory: ScratchDirectory
  let nodes: Nodes
  let calls: DefectsCalls
  let faults: FaultControl
  private(set) var alone: GatewayAlone
  private let flags: [String]
  private var session: Portcullis_V1_Session?

  /// The database "notes" is in a directory of its own, which the faults are for.
  /// - Parameter file: of that directory, the one that the faults are for; all of them where it is nil.
  static func with(
    _ flags: [String] = [], onlyIn file: String? = nil, _ body: (FaultyGateway) async throws -> Void
  ) async throws {
    let directory = try ScratchDirectory()
    try FileManager.default.createDirectory(atPath: directory("files"), withIntermediateDirectories: false)
    let faults = try FaultControl(for: Program.path, below: directory("files") + (file.map { "/\($0)" } ?? ""))
    let nodes = try Nodes()
    try await nodes.found("a")
    try await withConnection(nodes.client("a")) { connection in
      let calls = DefectsCalls(connection: connection)
      let alone = try await start(nodes, directory, flags, faults)
      let gateway = FaultyGateway(directory, nodes, calls, faults, alone, flags)
      while try await calls.gateways().isEmpty { try Task.checkCancellation() }
      try await body(gateway)
      faults.clear()
      await gateway.alone.stop()
    }
    await nodes.stop()
  }

  private init(
    _ directory: ScratchDirectory, _ nodes: Nodes, _ calls: DefectsCalls, _ faults: FaultControl, _ alone: GatewayAlone,
    _ flags: [String]
  ) {
    (self.directory, self.nodes, self.calls) = (directory, nodes, calls)
    (self.faults, self.alone, self.flags) = (faults, alone, flags)
  }

  private static func start(
    _ nodes: Nodes, _ directory: ScratchDirectory, _ flags: [String], _ faults: FaultControl
  ) async throws -> GatewayAlone {
    try await GatewayAlone.start(
      nodes.client("a"), databases: ["notes": directory("files/notes.db")], extra: flags,
      environment: faults.environment)
  }

  var database: String { directory("files/notes.db") }

  func kill() async {
    alone.program.send(SIGKILL)
    _ = await alone.program.exitCode()
  }

  /// Killed and started again; what is in the files is all that it knows.
  func restart() async throws {
    await kill()
    alone = try await Self.start(nodes, directory, flags, faults)
  }

  // MARK: Authority

  /// Ends the grant before, and asks for the scope "notes" in a new session.
  func acquire(_ holder: String, barrierMilliseconds: Int64 = 30_000) async throws -> Portcullis_V1_AcquireResponse {
    if let session { try await calls.close(session) }
    let session = try await calls.open(holder, ttlMilliseconds: 600_000)
    self.session = session
    return try await calls.acquire(["notes"], session) { $0.barrierMs = barrierMilliseconds }
  }

  /// A grant whose raise the gateway has confirmed.
  func grant(_ holder: String) async throws -> Portcullis_V1_Grant {
    let granted = try await acquire(holder).granted
    try #require(granted.number > 0 && granted.barrier == .confirmed)
    return granted
  }

  // MARK: Requests

  /// A request to `/db/notes/…`.
  func send(
    _ target: String, _ token: String? = nil, _ sql: String...
  ) async throws -> CurlAnswer {
    var arguments = ["http://\(alone.address)/db/notes/\(target)"]
    if let token { arguments += ["-H", "Fencing-Token: \(token)"] }
    if !sql.isEmpty { arguments += ["-d", String(decoding: try JSONEncoder().encode(sql), as: UTF8.self)] }
    return try await Curl.run(arguments)
  }

  /// What curl is to be told to load a file.
  func loading(_ file: String, _ token: String) -> [String] {
    ["http://\(alone.address)/db/notes/load", "-H", "Fencing-Token: \(token)", "--data-binary", "@\(file)"]
  }

  /// The first column of a plain read.
  func numbers(_ sql: String) async throws -> [Int] {
    struct Answer: Decodable {
      struct Result: Decodable { let values: [[Int]]? }
      let results: [Result]
    }
    let answer = try await send("query", nil, sql)
    let results = try JSONDecoder().decode(Answer.self, from: Data(answer.body.utf8)).results
    return (try #require(results.first, "\(answer)").values ?? []).map { $0[0] }
  }

  /// The number of the floor, or 0.
  func floor() async throws -> Int64 {
    struct Answer: Decodable {
      struct Floor: Decodable { let number: Int64 }
      let floor: Floor?
    }
    let answer = try await send("fence")
    return try JSONDecoder().decode(Answer.self, from: Data(answer.body.utf8)).floor?.number ?? 0
  }

  /// Whether the gateway says that all its databases take writes.
  func isReady() async throws -> Bool { try await Curl.run(["http://\(alone.address)/readyz"]).status == 200 }
}

extension CurlAnswer {
  /// Taken, and no statement of it failed.
  var isDone: Bool { status == 200 && !body.contains("\"error\"") }
}
