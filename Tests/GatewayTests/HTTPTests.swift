// The gateway over a real socket: rqlite's shapes, refusals, and what it says of itself.

import FencingCore
import Foundation
import Gateway
import NIOHTTP1
import Testing
import Tokens

private func json(_ text: String) throws -> JSONValue { try StrictJSON.parse(Array(text.utf8)) }

@Suite("HTTP")
struct HTTPTests {
  @Test("execute takes rqlite's three shapes and says under which fence it wrote")
  func shapes() async throws {
    try await withGateway { gateway in
      let answer = try await gateway.execute(
        #"["INSERT INTO item(name) VALUES('a')", ["INSERT INTO item(name, price) VALUES(?, ?)", "b", 1.5], ["INSERT INTO item(name, id) VALUES(:n, :i)", {"n": "c", "i": 9223372036854775807}]]"#,
        claims(5))
      #expect(answer.status == 200)
      #expect(
        answer.results == [
          try json(#"{"last_insert_id":1,"rows_affected":1}"#), try json(#"{"last_insert_id":2,"rows_affected":1}"#),
          try json(#"{"last_insert_id":9223372036854775807,"rows_affected":1}"#),
        ])
      #expect(
        answer.json["fence"]
          == (try json(#"{"scope":"orders","cluster":"0000000000000007","incarnation":1,"number":5,"holder":"a"}"#)))
    }
  }

  @Test("query answers columns, types and values, with exact integers and BLOBs in base64")
  func query() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(
        #"[["INSERT INTO item VALUES(9007199254740993, ?, 1.0, ?)", "x\n\"y\"", [0, 255, 62]], "INSERT INTO item(id) VALUES(9007199254740994)"]"#,
        claims(5))
      let answer = try await gateway.query(#"["SELECT *, id + 1 AS next FROM item"]"#)
      #expect(
        answer.text
          == #"{"results":[{"columns":["id","name","price","picture","next"],"types":["integer","text","real","blob","integer"],"values":[[9007199254740993,"x\n\"y\"",1.0,"AP8+",9007199254740994],[9007199254740994,null,null,null,9007199254740995]]}]}"#
      )
      let arrays = try await gateway.query(#"["SELECT picture FROM item LIMIT 1"]"#, flags: "?blob_array")
      #expect(arrays.text.contains("[[[0,255,62]]]"))
      let none = try await gateway.query(#"["SELECT id FROM item WHERE 0"]"#)
      #expect(none.text == #"{"results":[{"columns":["id"],"types":["integer"]}]}"#)
    }
  }

  @Test("GET query reads q, also with escapes and pluses")
  func get() async throws {
    try await withGateway { gateway in
      let answer = try await gateway.send(.GET, "/db/orders/query?q=SELECT+1%2B1+AS+%22a%26b%22&timings")
      #expect(answer.results.first?["columns"] == .array([.string("a&b")]))
      #expect(answer.results.first?["values"] == .array([.array([.integer(2)])]))
      #expect(answer.results.first?["time"] != nil)
      #expect(answer.json["time"] != nil)
      let write = try await gateway.send(.GET, "/db/orders/query?q=DELETE%20FROM%20item")
      #expect(write.results.first?["error"]?.string?.contains("send it to execute") == true)
    }
  }

  @Test("associative answers name each value")
  func associative() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5))
      let answer = try await gateway.query(#"["SELECT id, name FROM item"]"#, flags: "?associative&pretty")
      #expect(
        answer.json
          == (try json(#"{"results":[{"types":{"id":"integer","name":"text"},"rows":[{"id":1,"name":"a"}]}]}"#)))
      #expect(answer.text.contains("\n    \"results\": ["))
    }
  }

  @Test("an SQL error is 200 with its reason; the transaction flag makes all or none")
  func sqlErrors() async throws {
    try await withGateway { gateway in
      let body =
        #"["INSERT INTO item(id) VALUES(1)", "INSERT INTO item(id) VALUES(1)", "INSERT INTO item(id) VALUES(2)"]"#
      let together = try await gateway.execute(body, claims(5), flags: "?transaction")
      #expect(together.status == 200)
      #expect(together.results.last?["error"]?.string == "UNIQUE constraint failed: item.id")
      #expect(together.json["rolled_back"] == .bool(true))
      #expect(try await gateway.query(#"["SELECT count(*) FROM item"]"#).text.contains("[[0]]"))
      let apart = try await gateway.execute(body, claims(5), flags: "?transaction=false")
      #expect(apart.results.map { $0["error"] == nil } == [true, false, true])
      let returning = try await gateway.execute(
        #"["UPDATE item SET name = 'x' WHERE id = 2 RETURNING id, name"]"#, claims(5))
      #expect(returning.results.first?["values"] == .array([.array([.integer(2), .string("x")])]))
    }
  }

  @Test("a stale token is 409 with what was seen and presented, and changes nothing")
  func stale() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5, "a"))
      let raised = try await gateway.send(.POST, "/db/orders/raise", token: gateway.token(claims(6, "b")))
      #expect(raised.status == 200)
      #expect(raised.json["fence"]?["number"] == .integer(6))
      let before = try Raw.contents(gateway.path)
      for answer in [
        try await gateway.execute(#"["DELETE FROM item"]"#, claims(5, "a")),
        try await gateway.query(#"["SELECT 1"]"#, claims(5, "a")),
        try await gateway.send(.POST, "/db/orders/raise", token: gateway.token(claims(5, "a"))),
      ] {
        #expect(answer.status == 409)
        #expect(answer.headers.first(name: "content-type") == "application/problem+json")
        #expect(answer.problem == "urn:portcullis:problem:stale-token")
        #expect(answer.json["scope"] == .string("orders"))
        #expect(
          answer.json["seen"] == (try json(#"{"cluster":"0000000000000007","incarnation":1,"number":6,"holder":"b"}"#)))
        #expect(answer.json["presented"]?["number"] == .integer(5))
        #expect(answer.json["recovery"]?.string?.isEmpty == false)
      }
      #expect(try Raw.contents(gateway.path) == before)
      #expect(try await gateway.send(.GET, "/db/orders/fence").json["floor"]?["number"] == .integer(6))
    }
  }

  @Test("every other refusal has its own status and type, and changes nothing")
  func refusals() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5, "a"))
      let before = try Raw.contents(gateway.path)
      let sql = #"["DELETE FROM item"]"#
      let good = try gateway.token(claims(5, "a"))
      var flipped = Array(good.utf8)
      flipped[flipped.count - 20] ^= 1
      let forged = try SigningKey().sign(claims(9), issuedAtSeconds: 0, expiresAtSeconds: .max)
      let none = Base64URL.encode(#"{"alg":"none"}"#.utf8) + "." + good.split(separator: ".")[1] + "."
      let cases: [(String?, Int, String)] = [
        (nil, 401, "token-required"),
        ("", 401, "unverifiable-token"),
        ("nonsense", 401, "unverifiable-token"),
        (String(decoding: flipped, as: UTF8.self), 401, "unverifiable-token"),
        (none, 401, "unverifiable-token"),
        (forged, 401, "unknown-key"),
        (String(repeating: "x", count: 6000), 401, "unverifiable-token"),
        (try gateway.token(claims(9), expiresInSeconds: -100), 401, "expired-token"),
        (try gateway.token(claims(9, scope: "other")), 403, "wrong-scope"),
        (try gateway.token(claims(9, cluster: 8)), 403, "other-cluster"),
        (try gateway.token(claims(4)), 409, "stale-token"),
        (try gateway.token(claims(9, incarnation: 0)), 409, "lower-incarnation"),
        (try gateway.token(claims(5, "b")), 409, "other-holder"),
      ]
      for (token, status, type) in cases {
        let answer = try await gateway.send(.POST, "/db/orders/execute", sql, token: token)
        #expect(answer.status == status, "\(type)")
        #expect(answer.problem == "urn:portcullis:problem:\(type)")
        #expect(answer.json["status"] == .integer(Int64(status)))
        #expect((answer.headers.first(name: "www-authenticate") != nil) == (status == 401))
        #expect(!answer.text.contains(gateway.path))
      }
      #expect(try Raw.contents(gateway.path) == before)
    }
  }

  @Test("a token is taken as a bearer too; two different ones are refused")
  func bearer() async throws {
    try await withGateway { gateway in
      let sql = #"["INSERT INTO item(name) VALUES('a')"]"#
      let (first, second) = (try gateway.token(claims(5)), try gateway.token(claims(6)))
      #expect(try await gateway.send(.POST, "/db/orders/execute", sql, bearer: first).status == 200)
      let both = try await gateway.send(.POST, "/db/orders/execute", sql, token: first, bearer: second)
      #expect(both.status == 401)
      #expect(
        try await gateway.send(.POST, "/db/orders/execute", #"["SELECT 1"]"#, token: first, bearer: first).status == 200
      )
    }
  }

  @Test(
    "a body that cannot be read is 400 and changes nothing",
    arguments: [
      "", "{}", "[]", "[1]", "[[]]", "[[1]]", #"["DELETE FROM item""#, #"[["SELECT ?", [256]]]"#,
      #"[["SELECT ?", {"a":[]}, 1]]"#,
      #"[["SELECT ?", 9223372036854775808]]"#, #"[["SELECT :a", {"a":1,"a":2}]]"#, "\"DELETE FROM item\"",
    ])
  func badBodies(body: String) async throws {
    try await withGateway { gateway in
      let answer = try await gateway.execute(body, claims(5))
      #expect(answer.status == 400)
      #expect(answer.problem == "urn:portcullis:problem:bad-request")
      #expect(try await gateway.send(.GET, "/db/orders/fence").json["floor"] == .null)
    }
  }

  @Test("a body beyond the limit is 413")
  func largeBody() async throws {
    var limits = GatewayLimits()
    limits.bodyBytes = 1000
    try await withGateway(limits: limits) { gateway in
      let body = #"["SELECT '"# + String(repeating: "x", count: 2000) + #"'"]"#
      let answer = try await gateway.execute(body, claims(5))
      #expect(answer.status == 413)
      #expect(answer.problem == "urn:portcullis:problem:body-too-large")
    }
  }

  @Test("an unknown database or path is 404 as a problem, and an unknown method 405 with those that there are")
  func unknown() async throws {
    try await withGateway { gateway in
      for (method, target) in [
        (HTTPMethod.POST, "/db/nowhere/execute"), (.GET, "/db/nowhere/fence"), (.GET, "/nothing"),
        (.POST, "/db/..%2Forders/execute"),
      ] {
        let answer = try await gateway.send(method, target, method == .POST ? "[\"SELECT 1\"]" : nil)
        #expect(answer.status == 404, "\(target)")
        #expect(answer.problem == "urn:portcullis:problem:not-found")
      }
      let other = try await gateway.send(.GET, "/db/orders/execute")
      #expect(other.status == 405 && other.problem == "urn:portcullis:problem:method-not-allowed")
      #expect(other.headers["allow"] == ["POST"])
    }
  }

  @Test("an open database takes writes without a token")
  func open() async throws {
    try await withGateway { gateway in
      let answer = try await gateway.send(
        .POST, "/db/scratch/execute", #"["CREATE TABLE t(a)", "INSERT INTO t VALUES(1)"]"#)
      #expect(answer.status == 200)
      #expect(answer.json["fence"] == nil)
      let stranger = try await gateway.send(
        .POST, "/db/scratch/execute", #"["DELETE FROM t"]"#, token: gateway.token(claims(5)))
      #expect(stranger.status == 403)
    }
  }

  @Test("a key that is new since the last look is fetched; made-up key ids do not cause a storm of questions")
  func keyRotation() async throws {
    let (first, second) = (SigningKey(), SigningKey())
    let keys = StaticKeys([first.publicKey])
    var limits = GatewayLimits()
    limits.keyRefreshSeconds = 3600
    try await withGateway(limits: limits, keys: keys, key: first) { gateway in
      let sql = #"["SELECT 1"]"#
      for _ in 0..<5 { #expect(try await gateway.execute(sql, claims(5)).status == 200) }
      #expect(await keys.questions == 1)
      for number in 1...5 as ClosedRange<Int64> {
        let forged = try SigningKey().sign(claims(number), issuedAtSeconds: 0, expiresAtSeconds: .max)
        #expect(try await gateway.send(.POST, "/db/orders/execute", sql, token: forged).status == 401)
      }
      #expect(await keys.questions == 1)
    }
    limits.keyRefreshSeconds = 0
    try await withGateway(limits: limits, keys: keys, key: first) { gateway in
      #expect(try await gateway.execute(#"["SELECT 1"]"#, claims(5)).status == 200)
      await keys.set([first.publicKey, second.publicKey])
      let later = try second.sign(claims(6), issuedAtSeconds: 0, expiresAtSeconds: .max)
      #expect(try await gateway.send(.POST, "/db/orders/execute", #"["SELECT 1"]"#, token: later).status == 200)
    }
  }

  @Test(
    "keys are asked for again when they are old, so that a node's key ends with it; out of reach, the known ones stay")
  func retiredKeys() async throws {
    let key = SigningKey()
    let keys = StaticKeys([key.publicKey])
    var limits = GatewayLimits()
    limits.keyAgeSeconds = 0
    try await withGateway(limits: limits, keys: keys, key: key) { gateway in
      let sql = #"["SELECT 1"]"#
      #expect(try await gateway.execute(sql, claims(5)).status == 200)
      await keys.set(isReachable: false)
      #expect(try await gateway.execute(sql, claims(6)).status == 200)
      await keys.set(KeySet([key.publicKey], lastAuthority: [key.kid: try claims(6).authority]))
      await keys.set(isReachable: true)
      // Nobody waits for the keys, so a request or two may still be judged by those that were known.
      var answer = try await gateway.execute(sql, claims(7))
      let wasTaken = answer.status == 200
      while answer.status == 200 { answer = try await gateway.execute(sql, claims(7)) }
      #expect(answer.status == 401 && answer.text.contains("vouches for nothing above"), "\(answer.text)")
      // Where 7 was taken before that, it is the floor.
      #expect(try await gateway.execute(sql, claims(6)).status == (wasTaken ? 409 : 200))
    }
  }

  @Test("without keys no token is taken: 503, and the data stays")
  func keysUnavailable() async throws {
    let key = SigningKey()
    let keys = StaticKeys([key.publicKey])
    await keys.set(isReachable: false)
    try await withGateway(keys: keys, key: key) { gateway in
      let answer = try await gateway.execute(#"["INSERT INTO item(id) VALUES(1)"]"#, claims(5))
      #expect(answer.status == 503)
      #expect(answer.problem == "urn:portcullis:problem:keys-unavailable")
      #expect(answer.headers.first(name: "retry-after") != nil)
      await keys.set(isReachable: true)
      #expect(try await gateway.execute(#"["INSERT INTO item(id) VALUES(1)"]"#, claims(5)).status == 200)
    }
  }

  @Test("status and readiness say what is served, and no path")
  func status() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(id) VALUES(1)"]"#, claims(5))
      let status = try await gateway.send(.GET, "/status")
      #expect(status.status == 200)
      guard case .array(let databases)? = status.json["databases"] else {
        Issue.record("no databases")
        return
      }
      #expect(databases.map { $0["name"] } == [.string("orders"), .string("scratch")])
      #expect(databases.map { $0["open"] } == [.bool(false), .bool(true)])
      #expect(databases[0]["floor"]?["number"] == .integer(5))
      #expect(!status.text.contains(gateway.path))
      #expect(try await gateway.send(.GET, "/readyz").json["ready"] == .bool(true))
      try Raw.run(gateway.path, "UPDATE _fence SET cluster = 'not a cluster id'")
      #expect(try await gateway.execute(#"["SELECT 1"]"#, claims(5)).status == 503)
      #expect(try await gateway.send(.GET, "/readyz").status == 503)
    }
  }

  @Test("many clients at once: every answer is the client's own, and every acknowledged row is there")
  func concurrent() async throws {
    try await withGateway { gateway in
      let token = try gateway.token(claims(5))
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 1...200 {
          group.addTask {
            let answer = try await gateway.send(
              .POST, "/db/orders/execute", "[[\"INSERT INTO item(id) VALUES(?)\", \(index)]]", token: token)
            #expect(answer.results.first?["last_insert_id"] == .integer(Int64(index)))
          }
        }
        try await group.waitForAll()
      }
      #expect(try Raw.run(gateway.path, "SELECT count(*), sum(id) FROM item") == [["200", "20100"]])
    }
  }
}

@Suite("Starting a gateway")
struct GatewayStartTests {
  private func start(_ declarations: [DatabaseDeclaration]) async throws(GatewayError) -> GatewayServer {
    try await GatewayServer(
      configuration: GatewayConfiguration(port: 0, databases: declarations), keys: StaticKeys([]), logger: quietLogger)
  }

  @Test(
    "names that cannot stand in a path, and doubles, are refused",
    arguments: ["", "a/b", "../x", "a b", "-a", String(repeating: "a", count: 65)])
  func names(name: String) async throws {
    let folder = try Folder()
    await #expect(throws: GatewayError.self) {
      try await start([DatabaseDeclaration(name: name, path: folder.file("a.db"))])
    }
    await #expect(throws: GatewayError.self) {
      try await start([
        DatabaseDeclaration(name: "a", path: folder.file("a.db")),
        DatabaseDeclaration(name: "a", path: folder.file("b.db")),
      ])
    }
    await #expect(throws: GatewayError.self) {
      try await start([
        DatabaseDeclaration(name: "a", path: folder.file("a.db")),
        DatabaseDeclaration(name: "b", path: folder.file("a.db")),
      ])
    }
  }

  @Test("one database that cannot be opened stops the start and says which and why")
  func cannotOpen() async throws {
    let folder = try Folder()
    do {
      _ = try await start([
        DatabaseDeclaration(name: "good", path: folder.file("a.db")),
        DatabaseDeclaration(name: "bad", path: folder.file("missing/b.db")),
      ])
      Issue.record("it started")
    } catch {
      #expect(error.description.contains("\"bad\"") && error.description.contains("does not exist"))
    }
  }

  @Test("a port in use is an error, and the databases are released")
  func portInUse() async throws {
    try await withGateway { gateway in
      let folder = try Folder()
      let declaration = DatabaseDeclaration(name: "a", path: folder.file("a.db"))
      let second = try await GatewayServer(
        configuration: GatewayConfiguration(port: gateway.port, databases: [declaration]), keys: StaticKeys([]),
        logger: quietLogger)
      await #expect(throws: (any Error).self) { try await second.run() }
      let again = try FencedDatabase(declaration, logger: quietLogger)
      await again.close()
    }
  }
}
