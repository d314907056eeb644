// What the gateway says of itself: to people, to load balancers, to Prometheus.
//
// Must never name a path of the server's.

import FencingCore
import Hummingbird

extension GatewayRoutes {
  func status(_ request: Request) async -> Response {
    var floors: [String: [ScopeFloor]] = [:]
    for name in names {
      guard let database = databases[name] else { continue }
      for scope in ScopeMap(database.declaration).all {
        if let floor = try? await database.floor(of: scope) {
          floors[name, default: []].append(ScopeFloor(scope: scope, floor: floor))
        }
      }
    }
    let known = floors
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("ready", isReady)
      json.member("uptime_seconds", WallClock.seconds - startedAt)
      json.member("databases") { json in
        json.array { json in
          for name in names {
            if let database = databases[name] { describe(database, floors: known[name] ?? [], into: &json) }
          }
        }
      }
    }
  }

  private func describe(_ database: FencedDatabase, floors: [ScopeFloor], into json: inout JSONWriter) {
    let status = database.status
    let scope = database.declaration.scope
    json.object { json in
      json.member("name", database.declaration.name)
      json.member("scope", scope)
      json.member("open", database.declaration.isOpen)
      json.member("floor") { json in
        if let floor = floors.first(where: { $0.scope == scope })?.floor { json.authority(floor) } else { json.null() }
      }
      if !database.declaration.tableScopes.isEmpty {
        json.member("floors") { json in
          json.array { json in for entry in floors { json.authority(entry.floor, scope: entry.scope) } }
        }
      }
      json.member("closed_scopes") { json in json.array { json in status.closedScopes.forEach { json.string($0) } } }
      json.member("queued_writes", Int64(status.queuedWrites))
      json.member("commits", Int64(clamping: status.commits))
      json.member("writes", Int64(clamping: status.writes))
      json.member("refusals", Int64(clamping: status.refusals))
      json.member("repetitions", Int64(clamping: status.repetitions))
      json.member("replayed_groups", Int64(clamping: status.replays))
      json.member("checkpoints", Int64(clamping: status.checkpoints))
      json.member("wal_frames", Int64(status.walFrames))
      if let reason = status.haltReason { json.member("halted", reason) }
    }
  }

  private var isReady: Bool { databases.values.allSatisfy { $0.status.haltReason == nil } }

  func readiness(_ request: Request) -> Response {
    let isReady = isReady
    return AnswerWriting.answer(
      AnswerForm(QueryItems(request.uri.query)), status: isReady ? .ok : .serviceUnavailable
    ) { json in
      json.member("ready", isReady)
    }
  }

  /// rqlite's list of nodes: a gateway is the one node of its databases, and their leader.
  func nodes(_ request: Request) -> Response {
    let isReady = isReady
    let address = request.head.authority ?? ""
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("nodes") { json in
        json.array { json in
          json.object { json in
            json.member("id", "gateway")
            json.member("api_addr", "http://" + address)
            json.member("addr", address)
            json.member("version", "portcullis")
            json.member("voter", true)
            json.member("reachable", isReady)
            json.member("leader", true)
          }
        }
      }
    }
  }

  func metrics() -> Response {
    let statuses = names.compactMap { name in databases[name].map { (name, $0.status) } }
    var text = ""
    func write(_ name: String, _ type: String, _ value: (DatabaseStatus) -> UInt64) {
      text += "# TYPE portcullis_gateway_\(name) \(type)\n"
      // Names hold nothing that would need an escape: `GatewayServer` has looked.
      for (database, status) in statuses {
        text += "portcullis_gateway_\(name){database=\"\(database)\"} \(value(status))\n"
      }
    }
    write("commits_total", "counter") { $0.commits }
    write("writes_total", "counter") { $0.writes }
    write("refusals_total", "counter") { $0.refusals }
    write("repetitions_total", "counter") { $0.repetitions }
    write("replayed_groups_total", "counter") { $0.replays }
    write("checkpoints_total", "counter") { $0.checkpoints }
    write("queued_writes", "gauge") { UInt64($0.queuedWrites) }
    write("wal_frames", "gauge") { UInt64($0.walFrames) }
    write("closed_scopes", "gauge") { UInt64($0.closedScopes.count) }
    write("halted", "gauge") { $0.haltReason == nil ? 0 : 1 }
    return Response(
      status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}
