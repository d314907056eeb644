// What is in a database's file after its gateway was killed, seen without a gateway: one that started again would hear of
// the newest number from the core, and the floor in the file would not be seen.

import FencedSQLite
import Logging

enum AfterCrash {
  struct State {
    let floor: Int64
    let isInFirst: Bool
    let isInSecond: Bool
  }

  /// Opens the file as a gateway does, looks, and closes it.
  static func look(at stage: Stage, for number: Int64) async throws -> State {
    let setup = stage.database()
    var logger = Logger(label: "conformance")
    logger.logLevel = .critical
    let database = try FencedDatabase(
      DatabaseDeclaration(name: setup.name, path: setup.path, isOpen: setup.isOpen), logger: logger)
    do {
      let floor = setup.isOpen ? nil : try await database.floor()
      let answer = try await database.query(
        ReadRequest(
          statements: ["first", "second"].map { SQLStatement("SELECT count(*) FROM \($0) WHERE n = \(number)") }))
      await database.close()
      let found = answer.results.map { outcome in
        guard case .success(let result) = outcome else { return false }
        return result.rows.first?.first != .integer(0)
      }
      return State(floor: floor?.number.rawValue ?? 0, isInFirst: found[0], isInSecond: found[1])
    } catch {
      await database.close()
      throw error
    }
  }
}
