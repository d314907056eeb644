// What the gateway says of itself: to people, to load balancers, to Prometheus.
//
// Must never name a path of the server's.

import FencingCore
import Hummingbird

extension GatewayRoutes {
  func status(_ request: Request) async -> Response {
    var floors: [String: [ScopeFloor]] = [:]
    // A look at the gateway opens no file.
    for slot in shelf.slots where slot.isOpen {
      guard let database = try? await slot.lease() else { continue }
      defer { slot.release() }
      for scope in ScopeMap(database.declaration).all {
        if let floor = try? await database.floor(of: scope) {
          floors[database.declaration.name, default: []].append(ScopeFloor(scope: scope, floor: floor))
        }
      }
    }
    let known = floors
    return AnswerWriting.answer(AnswerForm(QueryItems(request.uri.query))) { json in
      json.member("ready", isReady)
      json.member("uptime_seconds", WallClock.seconds - startedAt)
      json.member("authority") { json in
        json.object { json in
          switch authority {
          case .tokens:
            json.member("kind", "portcullis")
            json.member("signed", true)
            json.member("barrier", true)
          case .locks:
            json.member("kind", "etcd")
            json.member("signed", false)
            json.member("barrier", false)
          }
        }
      }
      json.member("connections", Int64(connections.count))
      json.member("requests", Int64(budget.open))
      json.member("databases") { json in
        json.array { json in
          for slot in shelf.slots { describe(slot, floors: known[slot.declaration.name] ?? [], into: &json) }
        }
      }
    }
  }

  private func describe(_ database: DatabaseSlot, floors: [ScopeFloor], into json: inout JSONWriter) {
    let (status, sums) = (database.status, database.sums)
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
      json.member("file_open", status != nil)
      if let status {
        json.member("closed_scopes") { json in json.array { json in status.closedScopes.forEach { json.string($0) } } }
        json.member("queued_writes", Int64(status.queuedWrites))
        json.member("wal_frames", Int64(status.walFrames))
      }
      json.member("commits", Int64(clamping: sums.commits))
      json.member("writes", Int64(clamping: sums.writes))
      json.member("refusals", Int64(clamping: sums.refusals))
      json.member("repetitions", Int64(clamping: sums.repetitions))
      json.member("replayed_groups", Int64(clamping: sums.replays))
      json.member("checkpoints", Int64(clamping: sums.checkpoints))
      if let reason = status?.haltReason { json.member("halted", reason) }
    }
  }

  private var isReady: Bool { shelf.slots.allSatisfy { $0.status?.haltReason == nil } }

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
            json.member("api_addr", "\(scheme)://" + address)
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
    var text = ""
    func write(_ name: String, _ type: String, _ value: (DatabaseSlot) -> UInt64?) {
      text += "# TYPE portcullis_gateway_\(name) \(type)\n"
      // Names hold nothing that would need an escape: `GatewayServer` has looked.
      for slot in shelf.slots {
        guard let value = value(slot) else { continue }
        text += "portcullis_gateway_\(name){database=\"\(slot.declaration.name)\"} \(value)\n"
      }
    }
    write("commits_total", "counter") { $0.sums.commits }
    write("writes_total", "counter") { $0.sums.writes }
    write("refusals_total", "counter") { $0.sums.refusals }
    write("repetitions_total", "counter") { $0.sums.repetitions }
    write("replayed_groups_total", "counter") { $0.sums.replays }
    write("checkpoints_total", "counter") { $0.sums.checkpoints }
    write("file_open", "gauge") { $0.isOpen ? 1 : 0 }
    write("queued_writes", "gauge") { $0.status.map { UInt64($0.queuedWrites) } }
    write("wal_frames", "gauge") { $0.status.map { UInt64($0.walFrames) } }
    write("closed_scopes", "gauge") { $0.status.map { UInt64($0.closedScopes.count) } }
    write("halted", "gauge") { $0.status.map { $0.haltReason == nil ? 0 : 1 } }
    func write(_ name: String, _ type: String, of value: UInt64) {
      text += "# TYPE portcullis_gateway_\(name) \(type)\nportcullis_gateway_\(name) \(value)\n"
    }
    write("connections", "gauge", of: UInt64(connections.count))
    write("connections_turned_away_total", "counter", of: connections.turnedAway)
    write("requests", "gauge", of: UInt64(budget.open))
    write("requests_turned_away_total", "counter", of: budget.turnedAway)
    return Response(
      status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
      body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
  }
}
