// rqlite's HTTP shapes beyond execute and query: the default database, mixed requests, timeouts, and what the gateway says
// of itself.

import FencingCore
import Foundation
import Gateway
import NIOHTTP1
import Testing
import Tokens

private func json(_ text: String) throws -> JSONValue { try StrictJSON.parse(Array(text.utf8)) }

@Suite("rqlite's shapes")
struct RqliteTests {
  @Test("paths without a name mean the database that was declared first")
  func defaultDatabase() async throws {
    try await withGateway { gateway in
      let token = try gateway.token(claims(5))
      let written = try await gateway.send(
        .POST, "/db/execute", #"["INSERT INTO item(name) VALUES('a')"]"#, token: token)
      #expect(written.results == [try json(#"{"last_insert_id":1,"rows_affected":1}"#)])
      for answer in [
        try await gateway.send(.GET, "/db/query?q=SELECT+name+FROM+item"),
        try await gateway.send(.POST, "/db/query", #"["SELECT name FROM item"]"#),
        try await gateway.send(.GET, "/db/orders/query?q=SELECT+name+FROM+item&level=strong"),
      ] {
        #expect(answer.text == #"{"results":[{"columns":["name"],"types":["text"],"values":[["a"]]}]}"#)
      }
      #expect(try await gateway.send(.GET, "/db/fence").json["floor"]?["number"] == .integer(5))
      #expect(try await gateway.send(.POST, "/db/raise", token: token).status == 200)
      #expect(
        try await gateway.send(.POST, "/db/execute", #"["SELECT 1"]"#).problem?.hasSuffix("token-required") == true)
    }
  }

  @Test("a mixed request answers each statement in its own shape, in their order")
  func mixed() async throws {
    try await withGateway { gateway in
      let body =
        #"["INSERT INTO item(name) VALUES('a')", "SELECT name, 1 AS n FROM item", ["UPDATE item SET price = ? WHERE name = :name", 2]]"#
      let answer = try await gateway.send(.POST, "/db/request", body, token: gateway.token(claims(5)))
      #expect(answer.results.count == 3)
      #expect(answer.results[0] == (try json(#"{"last_insert_id":1,"rows_affected":1}"#)))
      #expect(
        answer.results[1] == (try json(#"{"columns":["name","n"],"types":["text","integer"],"values":[["a",1]]}"#)))
      #expect(answer.results[2]["error"] != nil)
      let reads = try await gateway.send(.POST, "/db/orders/request?associative", #"["SELECT name FROM item"]"#)
      #expect(reads.results == [try json(#"{"types":{"name":"text"},"rows":[{"name":"a"}]}"#)])
      let writes = try await gateway.send(.POST, "/db/request", #"["SELECT 1", "DELETE FROM item"]"#)
      #expect(writes.status == 401 && writes.problem == "urn:portcullis:problem:token-required")
      #expect(try Raw.run(gateway.path, "SELECT count(*) FROM item") == [["1"]])
      let open = try await gateway.send(
        .POST, "/db/scratch/request", #"["CREATE TABLE t(a)", "INSERT INTO t VALUES(1)", "SELECT a FROM t"]"#)
      #expect(open.results.last?["values"] == .array([.array([.integer(1)])]))
    }
  }

  @Test("parameters of every kind, and edges of 64 bits, come back exactly")
  func parameters() async throws {
    try await withGateway { gateway in
      let body =
        #"[["INSERT INTO item(id, name, price, picture) VALUES(?, ?, ?, ?)", -9223372036854775808, null, true, [0, 128, 255]], ["INSERT INTO item(id, name) VALUES(@id, $name)", {"id": 9223372036854775807, "name": "\u0000x"}]]"#
      #expect(try await gateway.execute(body, claims(5)).results.allSatisfy { $0["error"] == nil })
      let answer = try await gateway.query(
        #"["SELECT id, name, price, picture FROM item ORDER BY id"]"#, flags: "?blob_array")
      #expect(
        answer.results.first?["values"]
          == (try json(
            #"[[-9223372036854775808,null,1.0,[0,128,255]],[9223372036854775807,"\u0000x",null,null]]"#)))
    }
  }

  @Test("a client may ask for less time than the gateway allows")
  func timeouts() async throws {
    try await withGateway { gateway in
      let endless = #"["WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"]"#
      for flags in ["?db_timeout=20ms", "?timeout=0.02s", "?timeout=1h&db_timeout=20000us"] {
        let read = try await gateway.query(endless, flags: flags)
        #expect(read.status == 503 && read.problem == "urn:portcullis:problem:timed-out")
        #expect(try await gateway.execute(endless, claims(5), flags: flags).status == 503)
      }
      for flags in ["?db_timeout=soon", "?timeout=5", "?timeout=-1s", "?timeout=s"] {
        #expect(try await gateway.query(#"["SELECT 1"]"#, flags: flags).status == 400, "\(flags)")
      }
      #expect(try await gateway.query(#"["SELECT 1"]"#, flags: "?timeout=1m30s").status == 200)
    }
  }

  @Test("tokens of several scopes come in one field with commas, or in several fields")
  func severalTokens() async throws {
    try await withGateway(databases: { folder in
      [
        DatabaseDeclaration(
          name: "orders", path: folder.file("orders.db"),
          tableScopes: [TableScope(scope: "prices", tables: ["price"])])
      ]
    }) { gateway in
      let (orders, prices) = (try gateway.token(claims(5)), try gateway.token(claims(7, scope: "prices")))
      let body = #"["CREATE TABLE IF NOT EXISTS price(n)", "INSERT INTO price VALUES(1)"]"#
      let joined = try await gateway.send(.POST, "/db/execute", body, token: "\(orders), \(prices)")
      #expect(joined.results.allSatisfy { $0["error"] == nil })
      let other = try json(
        #"{"scope":"prices","cluster":"0000000000000007","incarnation":1,"number":7,"holder":"a"}"#)
      let first = try #require(joined.json["fence"])
      #expect(joined.json["fences"] == .array([first, other]))
      let apart = try await gateway.send(
        .POST, "/db/execute", body, token: orders, headers: [("Fencing-Token", prices)])
      #expect(apart.results.allSatisfy { $0["error"] == nil })
      let alone = try await gateway.send(.POST, "/db/execute", #"["DELETE FROM price"]"#, token: orders)
      #expect(alone.results.first?["error"]?.string?.contains("\"prices\"") == true)
      #expect(
        try await gateway.send(.GET, "/db/orders/fence?scope=prices").json["floor"]?["number"] == .integer(7))
      #expect(try await gateway.send(.GET, "/db/orders/fence?scope=other").status == 404)
      let two = try await gateway.send(
        .POST, "/db/execute", body, token: orders, bearer: gateway.token(claims(6)))
      #expect(two.status == 401)
    }
  }

  @Test("an Idempotency-Key makes a repetition answer as the first did, and its answer can be asked for")
  func idempotency() async throws {
    try await withGateway { gateway in
      let (body, key) = (#"["INSERT INTO item(name) VALUES('a') RETURNING id"]"#, [("Idempotency-Key", "\"order-1\"")])
      let token = try gateway.token(claims(5))
      let first = try await gateway.send(.POST, "/db/orders/execute", body, token: token, headers: key)
      #expect(first.status == 200 && first.headers.first(name: "Idempotency-Replayed") == nil)
      _ = try await gateway.send(.POST, "/db/orders/raise", token: gateway.token(claims(6, "b")))
      let again = try await gateway.send(
        .POST, "/db/orders/execute", " " + body, token: token, headers: [("Idempotency-Key", "order-1")])
      #expect(again.text == first.text)
      #expect(again.headers.first(name: "Idempotency-Replayed") == "true")
      let other = try await gateway.send(
        .POST, "/db/orders/execute", #"["DELETE FROM item"]"#, token: token, headers: key)
      #expect(other.status == 422 && other.problem == "urn:portcullis:problem:key-taken")
      let kept = try await gateway.send(.GET, "/db/orders/requests/order-1")
      #expect(kept.results == first.results)
      #expect(try await gateway.send(.GET, "/db/orders/requests/order-2").status == 404)
      for bad in ["", "with space", String(repeating: "x", count: 256)] {
        let answer = try await gateway.send(
          .POST, "/db/orders/execute", body, token: token, headers: [("Idempotency-Key", bad)])
        #expect(answer.status == 400, "\(bad)")
      }
      #expect(try Raw.run(gateway.path, "SELECT count(*) FROM item") == [["1"]])
    }
  }

  @Test("nodes, metrics and the description are served, and every path that is described is there")
  func about() async throws {
    try await withGateway { gateway in
      _ = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5))
      let nodes = try await gateway.send(.GET, "/nodes")
      guard case .array(let list)? = nodes.json["nodes"] else {
        Issue.record("no nodes: \(nodes.text)")
        return
      }
      #expect(list.map { $0["api_addr"] } == [.string("http://127.0.0.1:\(gateway.port)")])
      let metrics = try await gateway.send(.GET, "/metrics").text
      #expect(metrics.contains("portcullis_gateway_writes_total{database=\"orders\"} 1\n"))
      #expect(metrics.contains("# TYPE portcullis_gateway_wal_frames gauge\n"))
      let description = try await gateway.send(.GET, "/openapi.json").json
      guard case .object(let paths)? = description["paths"] else {
        Issue.record("no paths")
        return
      }
      for path in paths {
        guard case .object(let operations) = path.value else { continue }
        for operation in operations {
          let target = path.name.replacingOccurrences(of: "{name}", with: "orders")
            .replacingOccurrences(of: "{key}", with: "none")
          let answer = try await gateway.send(HTTPMethod(rawValue: operation.name.uppercased()), target)
          #expect(answer.json["detail"]?.string != "There is no such path.", "\(path.name)")
        }
      }
    }
  }
}

@Suite("Asking the core")
struct AskingTests {
  private func declaration(_ folder: Folder) -> [DatabaseDeclaration] {
    [DatabaseDeclaration(name: "orders", path: folder.file("orders.db"), asksCore: true)]
  }

  @Test("a database that asks the core takes a write only while the core confirms its token, and none without the core")
  func everyWrite() async throws {
    let standings = StaticStandings()
    try await withGateway(standings: standings, databases: declaration) { gateway in
      let body = #"["INSERT INTO item(name) VALUES('a')"]"#
      let unreachable = try await gateway.execute(body, claims(5))
      #expect(unreachable.status == 503 && unreachable.problem == "urn:portcullis:problem:core-unreachable")
      await standings.set(standing(of: try claims(6, "b")))
      let gone = try await gateway.execute(body, claims(5))
      #expect(gone.status == 409 && gone.problem == "urn:portcullis:problem:not-current")
      #expect(gone.json["detail"]?.string?.contains("number 6 is held by \"b\"") == true)
      let raise = try await gateway.send(.POST, "/db/orders/raise", token: gateway.token(claims(9)))
      #expect(raise.status == 409)
      #expect(try Raw.run(gateway.path, "SELECT count(*) FROM _fence") == [["0"]])
      #expect(try await gateway.execute(body, claims(6, "b")).status == 200)
      await standings.set(
        Standing(cluster: 7, incarnation: try #require(Incarnation(Int64(1))), current: nil, lastNumber: GrantNumber(6))
      )
      #expect(try await gateway.execute(body, claims(6, "b")).status == 409)
      #expect(await standings.questions == 5)
    }
  }

  @Test("without that option the core is not asked, and the floors decide alone")
  func floorsAlone() async throws {
    let standings = StaticStandings()
    try await withGateway(standings: standings) { gateway in
      let written = try await gateway.execute(#"["INSERT INTO item(name) VALUES('a')"]"#, claims(5))
      #expect(written.status == 200)
      #expect(await standings.questions == 0)
    }
  }

  @Test("a closed scope opens by the core's word at the first request, and stays closed without it")
  func closedScope() async throws {
    let (folder, key) = (try Folder(), SigningKey())
    let body = #"["INSERT INTO item(name) VALUES('a')"]"#
    try await withGateway(key: key, folder: folder) { gateway in
      let written = try await gateway.execute(body, claims(5))
      #expect(written.status == 200)
    }
    try FileManager.default.removeItem(atPath: folder.file("orders.db-gateway.floors"))
    let standings = StaticStandings()
    try await withGateway(standings: standings, key: key, folder: folder) { gateway in
      let closed = try await gateway.execute(body, claims(5))
      #expect(closed.status == 503 && closed.problem == "urn:portcullis:problem:scope-closed")
      #expect(closed.headers.first(name: "retry-after") == "1")
      // The core is asked once in a second at most.
      #expect(try await gateway.execute(body, claims(5)).status == 503)
      #expect(await standings.questions == 1)
    }
    await standings.set(standing(of: try claims(9, "b")))
    try await withGateway(standings: standings, key: key, folder: folder) { gateway in
      let stale = try await gateway.execute(body, claims(5))
      #expect(stale.status == 409 && stale.json["seen"]?["number"] == .integer(9))
      #expect(try await gateway.execute(#"["DELETE FROM item"]"#, claims(9, "b")).status == 200)
    }
  }
}
