// Fenced writes through a gateway: the tokens, the table, and the look at it afterwards.

import Client
import Foundation
import Measurement
import NIOCore
import NIOFoundationCompat
import Synchronization
import Wire

/// Where a load of writes has its authority from.
package struct WriteTarget: Sendable, Equatable {
  /// The core's endpoints. Nil for an open database, which asks for no token.
  package var core: [String]?
  package var database: String
  /// The scope that the database demands; as a rule its name.
  package var scope: String

  package init(core: [String]?, database: String, scope: String) {
    self.core = core
    self.database = database
    self.scope = scope
  }
}

struct WritePrepared: Sendable {
  var token: String?
  var staleToken: String?
  /// Keeps the token's session alive for as long as the load runs.
  var client: Portcullis?
  var session: Session?
  /// The highest row before the load.
  var lastRow: Int64 = 0
  let accepted = AcceptedWrites()
}

/// How many writes the gateway has said that it did, the warm-up's and the late ones included.
final class AcceptedWrites: Sendable {
  private let value = Atomic<Int64>(0)

  var count: Int64 { value.load(ordering: .acquiring) }
  func add() { value.add(1, ordering: .releasing) }
}

struct WriteScenario: LoadScenario {
  let plan: LoadPlan

  static let table = "portcullis_bench"
  private static let timeToLive = Duration.seconds(30)

  private var target: WriteTarget { plan.write ?? WriteTarget(core: nil, database: "", scope: "") }

  func driver(at place: LoopPlace, _ prepared: WritePrepared) -> WriteDriver { WriteDriver(plan, place, prepared) }

  func describe(over connection: HTTPConnection) async -> TargetDescription {
    TargetDescription(endpoints: plan.endpoints.map(\.description))
  }

  func prepare(over connections: [HTTPConnection]) async throws(WorkloadError) -> WritePrepared {
    var prepared = try await authority()
    do throws(WorkloadError) {
      let create = "CREATE TABLE IF NOT EXISTS \(Self.table)(id INTEGER PRIMARY KEY, is_stale INTEGER, value BLOB)"
      _ = try await ask("execute", create, prepared.token, over: connections[0])
      prepared.lastRow = try await number("SELECT max(id) FROM \(Self.table)", prepared, over: connections[0]) ?? 0
      return prepared
    } catch {
      await release(prepared)
      throw error
    }
  }

  /// The token of a grant that nobody else has, and before it that of one which the later supersedes.
  private func authority() async throws(WorkloadError) -> WritePrepared {
    guard let core = target.core else { return WritePrepared() }
    do {
      let client = Portcullis(endpoints: try core.map { try Client.Endpoint(parsing: $0) })
      let old = try await Session.open(on: client, holder: "bench, superseded", timeToLive: Self.timeToLive)
      let stale = try await old.acquire(target.scope, wait: .seconds(10))
      await old.close()
      let session = try await Session.open(on: client, holder: "bench", timeToLive: Self.timeToLive)
      let grant = try await session.acquire(target.scope, wait: .seconds(10))
      return WritePrepared(token: grant.token, staleToken: stale.token, client: client, session: session)
    } catch {
      guard !Task.isCancelled else {
        throw WorkloadError(.interrupted, "stopped before the load began: the scope was not acquired yet")
      }
      throw WorkloadError(.unreachable, "no grant of scope \(target.scope) could be had: \(error)")
    }
  }

  private func release(_ prepared: WritePrepared) async {
    await prepared.session?.close()
    prepared.client?.close()
  }

  /// Counts the rows: each accepted write is there, and no stale one.
  func finish(_ prepared: WritePrepared, over connections: [HTTPConnection], _ measured: inout LoadFigures) async {
    if let connection = connections.first {
      // Before the look: what is accepted meanwhile may be in the database or not yet.
      let accepted = prepared.accepted.count
      let rows = "SELECT count(*) FROM \(Self.table) WHERE id > \(prepared.lastRow) AND"
      if let stale = try? await number("\(rows) is_stale", prepared, over: connection) {
        measured.oracle.check(stale, "\(stale) stale writes are in the database")
      }
      if let landed = try? await number("\(rows) NOT is_stale", prepared, over: connection) {
        let lost = "of \(accepted) writes that were accepted, \(landed) are in the database"
        measured.oracle.check(Swift.max(0, accepted - landed), lost)
      }
      _ = try? await ask("execute", "DROP TABLE \(Self.table)", prepared.token, over: connection)
    }
    await release(prepared)
  }

  // MARK: Asking

  private func number(
    _ statement: String, _ prepared: WritePrepared, over connection: HTTPConnection
  ) async throws(WorkloadError) -> Int64? {
    struct Answer: Decodable {
      struct Rows: Decodable { let values: [[Int64?]]? }
      let results: [Rows]
    }
    let answer = try await ask("query", statement, prepared.token, over: connection)
    return (try? JSONDecoder().decode(Answer.self, from: Data(buffer: answer.body)))?.results.first?.values?.first?
      .first ?? nil
  }

  private func ask(
    _ operation: String, _ statement: String, _ token: String?, over connection: HTTPConnection
  ) async throws(WorkloadError) -> HTTPAnswer {
    let path = "/db/\(target.database)/\(operation)"
    let fields = token.map { [("Fencing-Token", $0)] } ?? []
    guard let body = try? JSONEncoder().encode([statement]) else { preconditionFailure("a string can be encoded") }
    let result: Result<HTTPAnswer, RPCStatus> = await withCheckedContinuation { continuation in
      connection.eventLoop.execute {
        connection.post(path, fields, ByteBuffer(bytes: body)) { continuation.resume(returning: $0) }
      }
    }
    switch result {
    case .failure(let status): throw WorkloadError(.unreachable, "the gateway did not answer: \(status.message)")
    case .success(let answer):
      let text = String(buffer: answer.body)
      guard answer.status == 200, !text.contains("\"error\"") else {
        throw WorkloadError(
          .unreachable,
          "the gateway answered \(answer.status) to \"\(statement)\": \(text.prefix(300)). "
            + "Does database \(target.database) exist, and does it take this core's tokens?")
      }
      return answer
    }
  }
}

extension OracleFigures {
  /// One look that found so many things wrong.
  fileprivate mutating func check(_ wrong: Int64, _ words: String) {
    checked += 1
    guard wrong > 0 else { return }
    violations += UInt64(wrong)
    firstViolation = firstViolation ?? words
  }
}
