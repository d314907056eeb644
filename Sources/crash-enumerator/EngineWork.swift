// Owns the same for the gateway's own engine: a program that raises floors and writes data under tokens, some of it under
// keys whose answers are kept, with the copy of the floors beside it; and what must hold of all four after a power cut.

import CrashStates
import Dispatch
import FencedSQLite
import FencingCore
import Logging
import Synchronization

struct EnginePlan {
  enum Step: Sendable, Equatable {
    /// A new holder is told of, and writes nothing yet.
    case raise
    /// One row, under the newest number or the next one, perhaps under a key.
    case write(value: String, raises: Bool, isKeyed: Bool)
  }

  static let scope = "orders"
  static let file = "orders.db"
  let steps: [Step]

  init(seed: UInt64, steps count: Int) {
    var choosing = Choosing(seed: seed)
    steps = (0..<count).map { _ in
      if choosing.below(6) == 0 { return .raise }
      let length = choosing.below(5) == 0 ? choosing.below(6000) : choosing.below(120)
      let value = (0..<length).map { _ in String(choosing.next(), radix: 36).prefix(1) }.joined()
      return .write(value: value, raises: choosing.below(4) == 0, isKeyed: choosing.below(2) == 0)
    }
  }

  /// What there is once so many steps were carried out.
  struct Content: Equatable {
    var floor: Int64 = 1
    var values: [String] = []
    var keys: [String] = []
  }

  func content(after count: Int) -> Content {
    var content = Content()
    for (place, step) in steps.prefix(count).enumerated() {
      switch step {
      case .raise: content.floor += 1
      case .write(let value, let raises, let isKeyed):
        if raises { content.floor += 1 }
        content.values.append(value)
        if isKeyed { content.keys.append("step \(place)") }
      }
    }
    return content
  }

  // MARK: Writing

  fileprivate static func claims(_ number: Int64) throws(Failure) -> FenceClaims {
    guard let number = GrantNumber(number), let incarnation = Incarnation(Int64(1)) else {
      throw Failure("a number of a grant is above zero")
    }
    return FenceClaims(cluster: 1, incarnation: incarnation, scope: scope, number: number, holder: "holder \(number)")
  }

  fileprivate static func open(in directory: String) throws(Failure) -> FencedDatabase {
    var limits = EngineLimits()
    // So that checkpoints are among what is cut.
    limits.checkpointFrames = 24
    limits.readers = 1
    var logger = Logger(label: "crash-enumerator")
    logger.logLevel = .critical
    do throws(OpenError) {
      return try FencedDatabase(
        DatabaseDeclaration(name: scope, path: directory + "/" + file, floorCopyPath: directory + "/orders.floors"),
        limits: limits, logger: logger)
    } catch {
      throw Failure("the engine does not open it: \(error)")
    }
  }

  fileprivate func request(_ place: Int, _ content: Content) throws(Failure) -> WriteRequest? {
    guard case .write(let value, _, let isKeyed) = steps[place] else { return nil }
    let row = SQLStatement(
      "INSERT INTO data VALUES (?, ?)", .positional([.integer(Int64(content.values.count)), .text(value)]))
    return WriteRequest(
      statements: [row], claims: [try Self.claims(content.floor)], idempotencyKey: isKeyed ? "step \(place)" : nil)
  }

  func run(in directory: String, marks: Marks) throws {
    let database = try Self.open(in: directory)
    try Self.wait { () async throws in
      let table = SQLStatement("CREATE TABLE data (number INTEGER PRIMARY KEY, value TEXT)")
      try Self.expectDone(
        try await database.execute(WriteRequest(statements: [table], claims: [try Self.claims(1)])))
      marks.set("o")
      for place in steps.indices {
        let content = content(after: place + 1)
        marks.set("b\(place + 1)")
        if let request = try request(place, content) {
          try Self.expectDone(try await database.execute(request))
        } else {
          _ = try await database.raise(try Self.claims(content.floor))
        }
        marks.set("d\(place + 1)")
      }
      await database.close()
    }
  }

  private static func expectDone(_ outcome: WriteOutcome) throws(Failure) {
    for case .failure(let message) in outcome.results { throw Failure("a statement failed: \(message)") }
  }
}

/// What must hold of the files after a power cut.
struct EngineCheck {
  private let plan: EnginePlan
  /// What there is after each number of steps.
  private let contents: [EnginePlan.Content]
  private var checked = 0

  init(_ plan: EnginePlan) {
    self.plan = plan
    contents = (0...plan.steps.count).map(plan.content)
  }

  /// Why what is in `directory` is not what it must be, or nil. Every sixteenth is opened by the engine, which must go on.
  mutating func problem(in directory: String, _ progress: Progress) -> String? {
    checked += 1
    do {
      let found: EnginePlan.Content
      do {
        // Closed before the engine comes, which wants the file to itself.
        let database = try Database(path: directory + "/" + EnginePlan.file, synchronous: "FULL")
        guard try database.texts("PRAGMA quick_check") == ["ok"] else { return "its pages contradict each other" }
        guard try !database.texts("SELECT name FROM sqlite_master WHERE name = 'data'").isEmpty else {
          return progress.isMade ? "its tables are gone" : nil
        }
        found = try content(of: database)
      }
      guard contents[progress.done...progress.begun].contains(found) else {
        return "floor \(found.floor), \(found.values.count) rows and \(found.keys.count) kept answers are there, which"
          + " belong to nothing between \(progress.done) and \(progress.begun) steps"
      }
      guard checked.isMultiple(of: 16) else { return nil }
      return try EnginePlan.wait { [plan] in
        let database = try EnginePlan.open(in: directory)
        let problem = try await plan.problem(of: database, found)
        await database.close()
        return problem
      }
    } catch {
      return "\(error)"
    }
  }

  private func content(of database: Database) throws(Failure) -> EnginePlan.Content {
    var found = EnginePlan.Content()
    found.floor = try database.texts("SELECT number FROM _fence").first.flatMap { Int64($0) } ?? 0
    found.values = try database.texts("SELECT value FROM data ORDER BY number")
    found.keys = try database.texts("SELECT key FROM _fence_request WHERE answer IS NOT NULL ORDER BY id")
    return found
  }
}

extension EnginePlan {
  /// Why the engine does not go on from there as it should: a cut is no older file, a repetition changes nothing, nothing
  /// stale gets in, and the next holder does.
  fileprivate func problem(of database: FencedDatabase, _ found: Content) async throws -> String? {
    let closed = database.status.closedScopes
    guard closed.isEmpty else { return "a power cut is taken for an older file: \(closed) is closed" }
    for key in found.keys {
      guard try await database.keptAnswer(to: key) != nil else { return "the answer under \"\(key)\" is gone" }
    }
    if let place = found.keys.last.flatMap({ Int($0.dropFirst("step ".count)) }),
      let request = try request(place, content(after: place + 1))
    {
      guard try await database.execute(request).isRepeated else { return "step \(place) was carried out twice" }
    }
    let delete = [SQLStatement("DELETE FROM data")]
    if found.floor > 1 {
      do {
        _ = try await database.execute(WriteRequest(statements: delete, claims: [try Self.claims(found.floor - 1)]))
        return "a stale writer got in below \(found.floor)"
      } catch let failure as RequestFailure {
        guard case .refused = failure else { return "a stale writer met \(failure)" }
      }
    }
    let next = WriteRequest(statements: delete, claims: [try Self.claims(found.floor + 1)])
    let rows = try await database.execute(next).results
    guard case .success(let result)? = rows.first, result.rowsAffected == found.values.count else {
      return "the next holder met \(rows)"
    }
    return nil
  }

  /// The engine's calls are asynchronous, and this program is not: its one thread waits, which is no thread of theirs.
  fileprivate static func wait<Answer: Sendable>(_ body: @escaping @Sendable () async throws -> Answer) throws -> Answer
  {
    let done = DispatchSemaphore(value: 0)
    let box = AnswerBox<Answer>()
    Task {
      do { box.set(.success(try await body())) } catch { box.set(.failure(error)) }
      done.signal()
    }
    done.wait()
    return try box.get()
  }
}

/// Where a task leaves what the thread that waits for it wants.
private final class AnswerBox<Answer: Sendable>: Sendable {
  private let result = Mutex<Result<Answer, any Error>?>(nil)

  func set(_ result: Result<Answer, any Error>) { self.result.withLock { $0 = result } }

  func get() throws -> Answer {
    guard let result = result.withLock({ $0 }) else { throw Failure("a task ended without an answer") }
    return try result.get()
  }
}
