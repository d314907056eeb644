// Owns how a need is written in a file: YAML, of which JSON is a part.

import Foundation
package import Measurement
package import Planning
import Yams

package enum NeedFile {
  package static let example = """
    operations:            # a second
      puts: 2000
      gets: 5000           # linearizable
      serializable_gets: 0
      transactions: 100
      renewals: 50
    key_bytes: 40
    value_bytes: 1024
    keys: 200000
    keys_per_day: 5000
    versions_kept: 2
    watchers: 500
    watchers_per_write: 3
    leases: 2000
    fence_rows: 100
    clients: 300
    sites: [fra, fra, ams] # of each node
    round_trips: {fra-fra: 300us, fra-ams: 8ms}
    objective: p99=50ms
    quota: 4GiB

    """

  private typealias Setter = @Sendable (inout Need, Value) throws(PlanError) -> Void

  /// Every name that a file may have.
  private static let fields: [String: Setter] = [
    "key_bytes": { need, value throws(PlanError) in need.keyBytes = try value.whole() },
    "value_bytes": { need, value throws(PlanError) in need.valueBytes = try value.whole() },
    "keys": { need, value throws(PlanError) in need.keys = try value.number() },
    "keys_per_day": { need, value throws(PlanError) in need.keysPerDay = try value.number() },
    "versions_kept": { need, value throws(PlanError) in need.versionsKept = try value.number() },
    "leases": { need, value throws(PlanError) in need.leases = try value.number() },
    "watchers": { need, value throws(PlanError) in need.watchers = try value.number() },
    "watchers_per_write": { need, value throws(PlanError) in need.watchersPerWrite = try value.number() },
    "fence_rows": { need, value throws(PlanError) in need.fenceRows = try value.number() },
    "clients": { need, value throws(PlanError) in need.clients = try value.number() },
    "nodes": { need, value throws(PlanError) in need.nodes = try value.whole() },
    "processors": { need, value throws(PlanError) in need.processors = try value.whole() },
    "round_trip": { need, value throws(PlanError) in need.roundTrip = try value.seconds() },
    "client_round_trip": { need, value throws(PlanError) in need.clientRoundTrip = try value.seconds() },
    "heartbeat_interval": { need, value throws(PlanError) in need.heartbeatMilliseconds = try value.milliseconds() },
    "election_timeout": { need, value throws(PlanError) in need.electionMilliseconds = try value.milliseconds() },
    "quota": { need, value throws(PlanError) in need.quotaBytes = try value.bytes() },
    "shares_machine": { need, value throws(PlanError) in need.sharesMachine = try value.truth() },
    "shares_disk": { need, value throws(PlanError) in need.sharesDisk = try value.truth() },
    "clients_at": { need, value throws(PlanError) in need.clientsAt = try value.choice() },
    "arrivals": { need, value throws(PlanError) in need.arrivals = try value.choice() },
    "objective": { need, value throws(PlanError) in need.objective = try value.objective() },
    "seed": { need, value throws(PlanError) in need.seed = UInt64(try value.whole()) },
  ]

  private static let operations: [String: any WritableKeyPath<Need, Double> & Sendable] = [
    "puts": \.puts, "gets": \.gets, "serializable_gets": \.serializableGets, "transactions": \.transactions,
    "renewals": \.renewals,
  ]

  /// - Throws: `PlanError` that names the field, what was found and what is possible.
  package static func read(_ path: String) throws(PlanError) -> Need {
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw PlanError("\(path) cannot be read: \(error.localizedDescription)")
    }
    do {
      return try need(from: text)
    } catch {
      throw PlanError("\(path): \(error)")
    }
  }

  package static func need(from text: String) throws(PlanError) -> Need {
    let loaded: Any?
    do { loaded = try Yams.load(yaml: text) } catch { throw PlanError("this is no YAML: \(error)") }
    guard let map = loaded as? [String: Any], !map.isEmpty else {
      throw PlanError("it holds no fields; `portcullis plan --help` shows an example")
    }
    var need = Need()
    // A file that names sites has as many nodes as sites, unless it says otherwise.
    if let sites = map["sites"] as? [Any] { need.nodes = sites.count }
    for (name, found) in map.sorted(by: { $0.key < $1.key }) { try set(name, found, &need) }
    return need
  }

  private static func set(_ name: String, _ found: Any, _ need: inout Need) throws(PlanError) {
    switch name {
    case "operations":
      for (kind, rate) in try dictionary(found, name) {
        guard let path = operations[kind] else { throw unknown("operations.\(kind)", operations.keys.sorted()) }
        need[keyPath: path] = try Value(name: "operations.\(kind)", found: rate).number()
      }
    case "sites":
      guard let names = found as? [String] else {
        throw PlanError("sites is a list of names, one for each node: [a, a, b]")
      }
      need.sites = names
    case "round_trips":
      for (pair, time) in try dictionary(found, name) {
        need.siteRoundTrips[pair] = try Value(name: "round_trips.\(pair)", found: time).seconds()
      }
    default:
      guard let set = fields[name] else {
        throw unknown(name, (fields.keys + ["operations", "sites", "round_trips"]).sorted())
      }
      try set(&need, Value(name: name, found: found))
    }
  }

  private static func dictionary(_ found: Any, _ name: String) throws(PlanError) -> [(String, Any)] {
    guard let map = found as? [String: Any] else { throw PlanError("\(name) maps names to values, such as {a: 1}") }
    return map.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }

  private static func unknown(_ name: String, _ known: [String]) -> PlanError {
    PlanError("\"\(name)\" is no field of a need; there are \(known.joined(separator: ", "))")
  }
}

/// A value of the file, with its name for complaints.
struct Value {
  let name: String
  let found: Any

  private func wrong(_ what: String) -> PlanError { PlanError("\(name) is \"\(found)\", and has to be \(what)") }

  func number() throws(PlanError) -> Double {
    if let value = found as? Double { return value }
    if let value = found as? Int { return Double(value) }
    throw wrong("a number")
  }

  func whole() throws(PlanError) -> Int {
    guard let value = found as? Int, value >= 0 else { throw wrong("a whole number from 0 on") }
    return value
  }

  func truth() throws(PlanError) -> Bool {
    guard let value = found as? Bool else { throw wrong("true or false") }
    return value
  }

  func choice<Choice: RawRepresentable<String> & CaseIterable>() throws(PlanError) -> Choice {
    guard let text = found as? String, let value = Choice(rawValue: text) else {
      throw wrong(Choice.allCases.map(\.rawValue).joined(separator: " or "))
    }
    return value
  }

  func seconds() throws(PlanError) -> Double {
    guard let text = found as? String, let value = Units.seconds(text) else {
      throw wrong("a time such as 500us, 2ms or 1s")
    }
    return value
  }

  func milliseconds() throws(PlanError) -> Int {
    if let value = found as? Int { return value }
    return Int((try seconds() * 1000).rounded())
  }

  func bytes() throws(PlanError) -> Double {
    if let value = found as? Int { return Double(value) }
    guard let text = found as? String, let value = Units.bytes(text) else {
      throw wrong("a size such as 512MiB or 8GiB")
    }
    return value
  }

  func objective() throws(PlanError) -> LoadObjective {
    guard let text = found as? String, let value = Units.objective(text) else {
      throw wrong("an objective such as p99=20ms")
    }
    return value
  }
}

/// Amounts as people write them.
package enum Units {
  /// `500us`, `2ms`, `1s`, `1m`.
  package static func seconds(_ text: String) -> Double? {
    amount(text, ["us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60])
  }

  package static func bytes(_ text: String) -> Double? {
    amount(text, ["": 1, "B": 1, "KiB": 1024, "MiB": 1_048_576, "GiB": 1_073_741_824, "TiB": 1_099_511_627_776])
  }

  package static func objective(_ text: String) -> LoadObjective? {
    let parts = text.split(separator: "=").map(String.init)
    guard parts.count == 2, parts[0].hasPrefix("p"), let percentile = Double(parts[0].dropFirst()), percentile > 0,
      percentile < 100, let latency = seconds(parts[1]), latency > 0, latency < 3600
    else { return nil }
    return LoadObjective(percentile: percentile, latencyNanoseconds: UInt64(latency * 1e9))
  }

  private static func amount(_ text: String, _ factors: [String: Double]) -> Double? {
    let sign = text.hasPrefix("-") ? "-" : ""
    let digits = text.dropFirst(sign.count).prefix { $0.isNumber || $0 == "." }
    guard let amount = Double(sign + digits), amount.isFinite,
      let factor = factors[String(text.dropFirst(sign.count + digits.count))]
    else { return nil }
    return amount * factor
  }
}
