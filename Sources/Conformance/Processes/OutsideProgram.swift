// A program that opens a database's file itself, without a gateway: Debian's python3 or sqlite3, whichever is there.

import Foundation

enum OutsideProgram {
  /// Runs SQL on a file as any program of the machine can. Answers what SQLite said against it, or nil where it was done.
  /// - Throws: `ConformanceError` where there is no such program.
  static func run(_ sql: String, on path: String) async throws -> String? {
    let python = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.executescript(sys.argv[2]); c.close()"
    let ways = [("/usr/bin/sqlite3", ["-batch", path, sql]), ("/usr/bin/python3", ["-c", python, path, sql])]
    guard let way = ways.first(where: { FileManager.default.isExecutableFile(atPath: $0.0) }) else {
      throw ConformanceError("neither /usr/bin/sqlite3 nor /usr/bin/python3 is there, one of which this scenario needs")
    }
    let program = try RunningProgram(way.1, executable: way.0)
    let code = await program.exitCode()
    await program.waitForEndOfOutput()
    return code == 0 ? nil : program.errors.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
