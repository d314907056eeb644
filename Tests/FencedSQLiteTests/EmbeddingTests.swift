// The engine as a library: through what is public alone. The Swift of the article in Sources/FencedSQLite/FencedSQLite.docc
// stands here word for word, and a test compares the two.

import FencedSQLite
import FencingCore
import Foundation
import Testing
import Tokens

@Suite("a fenced file in a program of one's own")
struct EmbeddingTests {
  /// A node's key, its tokens, and a folder that goes with the test.
  final class Place {
    let key = SigningKey()
    let path: String

    init() throws {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent("embedding-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      path = folder.appendingPathComponent("orders.db").path
    }

    deinit { try? FileManager.default.removeItem(at: URL(fileURLWithPath: path).deletingLastPathComponent()) }

    var jwks: String { KeySet([key.publicKey]).jwksJSON() }

    func token(_ number: Int64, scope: String = "orders", expiresIn seconds: Int64 = 600) throws -> String {
      let now = Int64(Date().timeIntervalSince1970)
      let claims = FenceClaims(
        cluster: 7, incarnation: try #require(Incarnation(1 as Int64)), scope: scope,
        number: try #require(GrantNumber(number)), holder: "holder-\(number)")
      return try key.sign(claims, issuedAtSeconds: now, expiresAtSeconds: now + seconds)
    }
  }

  @Test("the article's program writes, and its stale write is refused")
  func article() async throws {
    let place = try Place()
    let (path, jwks, oldToken, token) = (place.path, place.jwks, try place.token(5), try place.token(6))
    let orders = try await FencedFile.open(path, scope: "orders", jwks: jwks)
    try await orders.raise(token: token)
    let paid = SQLStatement("INSERT INTO item(name) VALUES (?)", .positional([.text("paid")]))
    try await orders.write(
      [SQLStatement("CREATE TABLE IF NOT EXISTS item(id INTEGER PRIMARY KEY, name)"), paid], token: token)
    let answer = try await orders.read([SQLStatement("SELECT count(*) FROM item")], token: token)
    print(answer[0].rows)
    #expect(answer[0].rows == [[.integer(1)]])
    do {
      try await orders.write([SQLStatement("DELETE FROM item")], token: oldToken)
    } catch {
      print(error.code == .refused ? "stop: \(error)" : "failed: \(error)")
    }
    await orders.close()
  }

  /// How a write ends.
  private func end(
    _ file: FencedFile, _ sql: String, _ token: String
  ) async -> FencedFileError.Code? {
    do {
      try await file.write([SQLStatement(sql)], token: token)
      return nil
    } catch {
      return error.code
    }
  }

  @Test("every refusal has its code, and changes nothing")
  func refusals() async throws {
    let place = try Place()
    let token = try place.token(6)
    let orders = try await FencedFile.open(place.path, scope: "orders", jwks: place.jwks)
    #expect(await end(orders, "CREATE TABLE item(id PRIMARY KEY)", token) == nil)
    let insert = "INSERT INTO item VALUES (1)"
    #expect(await end(orders, insert, token) == nil)
    #expect(await end(orders, insert, try place.token(5)) == .refused)
    #expect(await end(orders, insert, try place.token(9, scope: "x")) == .refused)
    #expect(await end(orders, insert, try place.token(9, expiresIn: -900)) == .token)
    #expect(await end(orders, insert, try Place().token(9)) == .token)
    #expect(await end(orders, insert, "none") == .token)
    #expect(await end(orders, insert, token) == .statement)
    #expect(await end(orders, "ATTACH 'x' AS y", token) == .statement)
    do {
      _ = try await FencedFile.open(place.path, scope: "orders", jwks: place.jwks)
      Issue.record("one file was opened twice")
    } catch {
      #expect(error.code == .open)
    }
    let rows = try await orders.read([SQLStatement("SELECT * FROM item")])
    #expect(rows.first?.rows == [[.integer(1)]])
    await orders.close()
    #expect(await end(orders, insert, token) == .closed)
  }

  @Test("a repeated request under its key is done once, also after a hand-over")
  func exactlyOnce() async throws {
    let place = try Place()
    let orders = try await FencedFile.open(place.path, scope: "orders", jwks: place.jwks)
    let (first, second) = (try place.token(5), try place.token(6))
    try await orders.write([SQLStatement("CREATE TABLE item(id INTEGER PRIMARY KEY, name)")], token: first)
    let insert = [SQLStatement("INSERT INTO item(name) VALUES ('x')")]
    let answer = try await orders.write(insert, token: first, key: "a")
    try await orders.raise(token: second)
    #expect(try await orders.write(insert, token: first, key: "a") == answer)
    let rows = try await orders.read([SQLStatement("SELECT count(*) FROM item")])
    #expect(rows[0].rows == [[.integer(1)]])
    await orders.close()
  }

  @Test("every block of Swift in the article is one that is compiled here")
  func sameText() throws {
    let here = URL(fileURLWithPath: #filePath)
    func lines(_ text: String) -> String {
      text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        .joined(separator: "\n")
    }
    let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let article = root.appendingPathComponent("Sources/FencedSQLite/FencedSQLite.docc/FencedSQLite.md")
    // The compiled program looks at values on the way; the article does not.
    let code = lines(try String(contentsOf: here, encoding: .utf8)).split(separator: "\n")
      .filter { !$0.hasPrefix("#expect") }.joined(separator: "\n")
    let blocks = try String(contentsOf: article, encoding: .utf8).components(separatedBy: "```swift\n").dropFirst()
    #expect(blocks.count == 2)
    for part in blocks {
      let block = lines(part.components(separatedBy: "```")[0])
      #expect(code.contains(block), "the article has Swift that is not here:\n\(block)")
    }
  }
}
