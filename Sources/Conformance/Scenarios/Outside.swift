// Systems that are there before a run and after it: how plays reach them.
//
// Must never start, stop, pause or change the settings of anything of theirs: what stands for their servers here has no
// process, so nothing that a scenario does to it arrives anywhere.

import Client
import Foundation

/// A system that is not the run's own is not there, or not as it has to be.
package struct OutsideError: Error, CustomStringConvertible {
  /// Nothing came from there at all, or not in time.
  package let isUnreachable: Bool
  /// It is in use, and later it may not be.
  package let isHeld: Bool
  package let description: String

  init(isUnreachable: Bool, isHeld: Bool = false, _ description: String) {
    (self.isUnreachable, self.isHeld, self.description) = (isUnreachable, isHeld, description)
  }
}

package enum Outside: Sendable {
  /// A user's own locks and resource.
  case adapter(AdapterSystem)
  /// A core and a gateway of ours that run already.
  case running(RunningSystem)

  /// Where writers find what grants.
  var endpoints: String {
    switch self {
    case .adapter(let system): system.address
    case .running(let system): system.endpoints
    }
  }

  /// Where writers find what is written to.
  var resourceAddress: String {
    switch self {
    case .adapter(let system): system.address
    case .running(let system): system.gateway
    }
  }

  /// Whether it can be seen who stands in line.
  var showsLine: Bool {
    switch self {
    case .adapter: false
    case .running: true
    }
  }

  /// What tells its rows from those of our own in a report; nil where there are no others.
  package var name: String? {
    switch self {
    case .adapter(let system): system.name
    case .running: nil
    }
  }

  /// Why there is no negative control; nil where there is one.
  var noControl: String? {
    switch self {
    case .adapter(let system): system.hasControl ? nil : "the adapter has no way to write without the fence"
    case .running(let system): system.openDatabase == nil ? "no open database was named (--open-database)" : nil
    }
  }

  /// Why a scenario cannot be played there; nil where it can.
  package func excuse(for scenario: any Scenario) -> String? {
    switch self {
    case .adapter: Elsewhere.notForAdapters[scenario.number]
    case .running(let system): Elsewhere.excuse(for: scenario.number, at: system)
    }
  }

  /// How long one play may take: others' leases may be long.
  var patience: Duration {
    switch self {
    case .adapter: .seconds(300)
    case .running: .seconds(120)
    }
  }

  /// What stands for the core.
  var core: CoreProcesses {
    let nodes = endpoints.split(separator: ",").map { ServerProcess.elsewhere(at: String($0)) }
    return CoreProcesses(nodes: nodes, directories: [], names: [], peerURLs: [], token: "")
  }

  /// Does what comes before a play, on what the play calls its own.
  func prepare(_ lock: String, _ guarding: Guarding) async throws {
    switch self {
    case .adapter(let system):
      try await AdapterClient(address: system.address).reset(lock, fence: guarding == .fenced)
    case .running: break
    }
  }

  /// - Throws: where it is not there any more, so that nothing further can be played.
  func check() async throws {
    switch self {
    case .adapter(let system): _ = try await AdapterClient(address: system.address).hello()
    case .running(let system): try await system.check()
    }
  }
}

extension Outside {
  /// The database of a play, which for an adapter is the lock too.
  func database(_ mark: String, _ guarding: Guarding) -> String {
    switch self {
    case .adapter: mark
    case .running(let system): guarding == .fenced ? system.database : system.openDatabase ?? ""
    }
  }

  /// Takes away what a play has left: the leases of its writers, and its tables.
  /// - Throws: where a table stays.
  func cleanUp(after stage: Stage, _ leases: [Int64]) async throws {
    guard case .running(let system) = self else { return }
    await system.end(leases)
    try await system.dropTables(Stage.tables.map(stage.table), in: stage.name)
  }
}

/// What is behind an adapter.
package struct AdapterSystem: Sendable {
  /// `host:port`.
  package let address: String
  package let name: String
  /// Whether it can be written to without its fence.
  package let hasControl: Bool

  /// Goes once through the whole contract, so that an adapter which does not keep to it is told so before anything is played.
  /// - Parameter lock: a name that nobody else uses.
  /// - Throws: `OutsideError`.
  package static func rehearse(at address: String, lock: String) async throws -> AdapterSystem {
    let client = AdapterClient(address: address)
    let hello = try await client.hello()
    try await client.reset(lock, fence: true)
    let acquired = try await client.acquire(lock, owner: "rehearsal", milliseconds: 5000, waitMilliseconds: 5000)
    guard acquired.granted, let held = acquired.held else {
      throw client.breach("POST /acquire", "did not grant a lock that nobody has", #"{"granted": true, …}"#)
    }
    guard try await client.renew(held) else {
      throw client.breach("POST /renew", "said that what it had just granted is over", #"{"alive": true}"#)
    }
    let resource = AdapterResource(address: address, owner: "rehearsal")
    func send(_ text: TextRequest, _ name: String) async throws -> ResourceAnswer {
      var request = ResourceRequest(lock)
      (request.text, request.timeoutMilliseconds) = (text, 10_000)
      let answer = await resource.send(request, proofs: [acquired.proof ?? ""])
      if answer.isUnanswered { throw OutsideError(isUnreachable: false, answer.body) }
      guard answer.isAccepted else {
        throw client.breach("POST /\(name)", "refused the rightful holder: \(answer.summary)", "200")
      }
      return answer
    }
    _ = try await send(.write(key: "rehearsal", value: "written"), "write")
    guard try await send(.read(key: "rehearsal"), "read").text == "written" else {
      throw client.breach("POST /read", "did not return what was written", #"{"value": "written"}"#)
    }
    try await client.release(held)
    return AdapterSystem(address: address, name: hello.name, hasControl: hello.control ?? false)
  }
}
