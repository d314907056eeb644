// Systems that are there before a run and after it: how plays reach them.
//
// Must never start, stop, pause or change the settings of anything of theirs: what stands for their servers here has no
// process, so nothing that a scenario does to it arrives anywhere.

import Client
import Foundation

package enum Outside: Sendable {
  /// A user's own locks and resource.
  case adapter(AdapterSystem)

  /// Where writers find what grants.
  var endpoints: String {
    switch self {
    case .adapter(let system): system.address
    }
  }

  /// Where writers find what is written to.
  var resourceAddress: String {
    switch self {
    case .adapter(let system): system.address
    }
  }

  /// Whether it can be seen who stands in line.
  var showsLine: Bool {
    switch self {
    case .adapter: false
    }
  }

  /// What tells its rows from those of our own in a report; nil where there are no others.
  package var name: String? {
    switch self {
    case .adapter(let system): system.name
    }
  }

  /// Why there is no negative control; nil where there is one.
  var noControl: String? {
    switch self {
    case .adapter(let system): system.hasControl ? nil : "the adapter has no way to write without the fence"
    }
  }

  /// Why a scenario cannot be played there; nil where it can.
  package func excuse(for scenario: any Scenario) -> String? {
    switch self {
    case .adapter: Elsewhere.notForAdapters[scenario.number]
    }
  }

  /// How long one play may take: others' leases may be long.
  var patience: Duration {
    switch self {
    case .adapter: .seconds(300)
    }
  }

  /// What stands for the core.
  var core: CoreProcesses {
    CoreProcesses(nodes: [.elsewhere(at: endpoints)], directories: [], names: [], peerURLs: [], token: "")
  }

  /// Does what comes before a play, on what the play calls its own.
  func prepare(_ lock: String, _ guarding: Guarding) async throws {
    switch self {
    case .adapter(let system):
      try await AdapterClient(address: system.address).reset(lock, fence: guarding == .fenced)
    }
  }

  /// - Throws: where it is not there any more, so that nothing further can be played.
  func check() async throws {
    switch self {
    case .adapter(let system): _ = try await AdapterClient(address: system.address).hello()
    }
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
  /// - Throws: `AdapterError`.
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
      if answer.isUnanswered { throw AdapterError(isUnreachable: false, description: answer.body) }
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
