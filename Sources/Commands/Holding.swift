// `portcullis acquire` and `elect campaign`: runs a command while scopes are held, and not a moment longer than this client
// may rely on it.

package import Client
import Foundation
import Glibc

package struct Holding: Sendable {
  package var endpoints: [Endpoint]
  package var gateway: Endpoint
  /// How TLS is spoken with `endpoints`.
  package var tls = TLSOptions()
  package var credentials: Credentials?
  /// Everything but how long to wait.
  package var request: GrantRequest
  /// Whether what is held is a leadership.
  package var isElection = false
  package var holder: String
  package var timeToLive: Duration
  /// How long to queue; nil for as long as it takes.
  package var wait: Duration?
  /// How long the command may take to end after SIGTERM.
  package var grace: Duration

  package init(
    endpoints: [Endpoint], gateway: Endpoint, request: GrantRequest, holder: String, timeToLive: Duration,
    wait: Duration?, grace: Duration
  ) {
    self.endpoints = endpoints
    self.gateway = gateway
    self.request = request
    self.holder = holder
    self.timeToLive = timeToLive
    self.wait = wait
    self.grace = grace
  }

  private var label: String { request.scopes.joined(separator: ", ") }

  private enum Ending: Sendable { case exited(Int32), lost(String), signalled(Int32) }

  /// Runs a command while the scopes are held; without one they are held until a signal comes.
  /// - Parameter held: told of the grants where there is no command that would be.
  /// - Returns: the command's exit code; 0 where there is none and a signal ended the hold.
  /// - Throws: `CommandFailure` with `ExitCode.notHeld` when the scope could not be had, or was lost meanwhile.
  package func run(_ command: [String], held: ([Grant]) -> Void) async throws -> Int32 {
    // What the caller opened for the command is the command's; what we open from here on is not.
    let given = ChildProcess.openDescriptors
    let signals = Signals()
    let client = Portcullis(endpoints: endpoints, tls: tls, credentials: credentials)
    defer { client.close() }
    let session: Session
    do {
      session = try await Session.open(on: client, holder: holder, timeToLive: timeToLive)
    } catch {
      throw CommandFailure(ExitCode.unavailable, "\(error)")
    }
    let grants: [Grant]
    do {
      grants = try await acquire(with: session, signals)
    } catch {
      await session.close()
      throw error
    }
    let ending: Ending
    do {
      var child: ChildProcess?
      if command.isEmpty {
        held(grants)
      } else {
        child = try ChildProcess(command, environment: try environment(for: grants), keeping: given)
      }
      ending = await firstEnding(child, session, grants, signals)
    } catch {
      await session.close()
      throw error
    }
    return try conclude(ending, hasCommand: !command.isEmpty)
  }

  private func acquire(with session: Session, _ signals: Signals) async throws -> [Grant] {
    try await withThrowingTaskGroup(of: [Grant]?.self) { group in
      group.addTask { [self] in try await acquire(with: session) }
      group.addTask {
        _ = await signals.first()
        return nil
      }
      defer { group.cancelAll() }
      guard let first = try await group.next(), let grants = first else {
        throw CommandFailure(128 + SIGINT, "interrupted before \(label) was acquired")
      }
      return grants
    }
  }

  /// As long as it takes is one long wait, for a place in line is lost with its call. A node that goes away is noticed by the
  /// session's renewals.
  private static let asLongAsItTakes = Duration.seconds(7 * 24 * 3600)

  private func acquire(with session: Session) async throws -> [Grant] {
    var request = request
    request.wait = wait ?? Self.asLongAsItTakes
    do {
      if isElection {
        let election = Election(request.scopes[0], on: session.client)
        let value = String(decoding: request.value, as: UTF8.self)
        return [try await election.campaign(with: session, value: value, wait: request.wait)]
      }
      return try await session.acquire(request)
    } catch {
      let code: Int32 =
        switch error.code {
        case .unavailable, .untrusted: ExitCode.unavailable
        case .invalidArgument: ExitCode.usage
        default: ExitCode.notHeld
        }
      throw CommandFailure(code, error.description)
    }
  }

  private func firstEnding(
    _ child: ChildProcess?, _ session: Session, _ grants: [Grant], _ signals: Signals
  ) async -> Ending {
    await withTaskGroup(of: Ending?.self) { group in
      if let child { group.addTask { .exited(await child.exitCode()) } }
      for grant in grants {
        group.addTask { await session.waitUntilLost(grant).map { .lost(Self.reason($0, grant)) } }
      }
      group.addTask { await signals.first().map(Ending.signalled) }
      defer { group.cancelAll() }
      for await ending in group {
        guard let ending else { continue }
        // The group waits for its other tasks, of which the child's ends with the child alone.
        switch ending {
        case .exited: await session.close()
        case .lost:
          await child?.end(grace: grace)
          await session.close()
        case .signalled(let number):
          child?.send(number)
          await child?.end(grace: grace)
          await session.close()
        }
        return ending
      }
      return .lost("the wait for its end was given up")
    }
  }

  private static func reason(_ ending: AuthorityEnding, _ grant: Grant) -> String {
    switch ending {
    case .session(.deadlinePassed): "number \(grant.number) could not be renewed in time"
    default: ending.description
    }
  }

  private func conclude(_ ending: Ending, hasCommand: Bool) throws -> Int32 {
    switch ending {
    case .exited(let code): return code
    case .signalled(let number): return hasCommand ? 128 + number : 0
    case .lost(let reason):
      throw CommandFailure(
        ExitCode.notHeld,
        "\(label) was lost: \(reason)\(hasCommand ? ", so the command was ended. What it wrote" : ". What was written")"
          + " before then stands; what is written under it once somebody else holds the scope is refused by its number."
      )
    }
  }

  private func environment(for grants: [Grant]) throws -> [String: String] {
    let grant = grants[0]
    var environment = ProcessInfo.processInfo.environment
    environment["PORTCULLIS_SCOPE"] = grant.scope
    environment["PORTCULLIS_TOKEN"] = grant.token
    let tokens = grants.reduce(into: [:]) { $0[$1.scope] = $1.token }
    environment["PORTCULLIS_TOKENS"] = try JSONOutput.line(tokens)
    environment["PORTCULLIS_NUMBER"] = String(grant.number)
    environment["PORTCULLIS_INCARNATION"] = String(grant.incarnation)
    environment["PORTCULLIS_HOLDER"] = grant.holder
    environment["PORTCULLIS_SESSION"] = SessionID.text(grant.session)
    environment["PORTCULLIS_BARRIER"] = grant.barrier.rawValue
    environment["PORTCULLIS_ENDPOINTS"] = endpoints.map(\.description).joined(separator: ",")
    environment["PORTCULLIS_GATEWAY"] = gateway.description
    environment.merge(tls.environment) { $1 }
    return environment
  }
}
