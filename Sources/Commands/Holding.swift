// `portcullis acquire`: runs a command while a scope is held, and not a moment longer than this client may rely on it.

package import Client
import Foundation
import Glibc

package struct Holding: Sendable {
  package var endpoints: [Endpoint]
  package var gateway: Endpoint
  /// How TLS is spoken with `endpoints`.
  package var tls = TLSOptions()
  package var scope: String
  package var holder: String
  package var timeToLive: Duration
  /// How long to queue; nil for as long as it takes.
  package var wait: Duration?
  /// How long the command may take to end after SIGTERM.
  package var grace: Duration

  package init(
    endpoints: [Endpoint], gateway: Endpoint, scope: String, holder: String, timeToLive: Duration, wait: Duration?,
    grace: Duration
  ) {
    self.endpoints = endpoints
    self.gateway = gateway
    self.scope = scope
    self.holder = holder
    self.timeToLive = timeToLive
    self.wait = wait
    self.grace = grace
  }

  private enum Ending: Sendable { case exited(Int32), lost(String), signalled(Int32) }

  /// - Returns: the command's exit code.
  /// - Throws: `CommandFailure` with `ExitCode.notHeld` when the scope could not be had, or was lost meanwhile.
  package func run(_ command: [String]) async throws -> Int32 {
    // What the caller opened for the command is the command's; what we open from here on is not.
    let given = ChildProcess.openDescriptors
    let signals = Signals()
    let client = Portcullis(endpoints: endpoints, tls: tls)
    defer { client.close() }
    let session: Session
    do {
      session = try await Session.open(on: client, timeToLive: timeToLive)
    } catch {
      throw CommandFailure(ExitCode.unavailable, "\(error)")
    }
    let grant: Grant
    do {
      grant = try await acquire(with: session, signals)
    } catch {
      await session.close()
      throw error
    }
    let ending: Ending
    let child: ChildProcess
    do {
      child = try ChildProcess(command, environment: environment(for: grant), keeping: given)
      ending = await firstEnding(child, session, grant, signals)
    } catch {
      await session.close()
      throw error
    }
    return try await conclude(ending, child, session, grant)
  }

  private func acquire(with session: Session, _ signals: Signals) async throws -> Grant {
    try await withThrowingTaskGroup(of: Grant?.self) { group in
      group.addTask { [self] in try await acquireInTurns(with: session) }
      group.addTask {
        _ = await signals.first()
        return nil
      }
      defer { group.cancelAll() }
      guard let first = try await group.next(), let grant = first else {
        throw CommandFailure(128 + SIGINT, "interrupted before \(scope) was acquired")
      }
      return grant
    }
  }

  /// Queues for a minute at a time, so that a node which goes away is noticed.
  private func acquireInTurns(with session: Session) async throws -> Grant {
    let end = wait.map { ContinuousClock.now + $0 }
    while true {
      let left = end.map { max(.zero, ContinuousClock.now.duration(to: $0)) }
      do {
        return try await session.acquire(scope, holder: holder, wait: min(left ?? .seconds(60), .seconds(60)))
      } catch {
        let mayTryAgain = error.code == .held && session.isAlive && end.map { ContinuousClock.now < $0 } ?? true
        if !mayTryAgain {
          let isOut = [.unavailable, .untrusted].contains(error.code)
          let code = isOut ? ExitCode.unavailable : ExitCode.notHeld
          throw CommandFailure(code, "\(error)")
        }
      }
    }
  }

  private func firstEnding(
    _ child: ChildProcess, _ session: Session, _ grant: Grant, _ signals: Signals
  ) async -> Ending {
    await withTaskGroup(of: Ending?.self) { group in
      group.addTask { .exited(await child.exitCode()) }
      group.addTask { .lost(await session.waitUntilLost(grant)) }
      group.addTask { await signals.first().map(Ending.signalled) }
      defer { group.cancelAll() }
      for await ending in group {
        guard let ending else { continue }
        // The group waits for its other tasks, of which the child's ends with the child alone.
        switch ending {
        case .exited: await session.close()
        case .lost:
          await child.end(grace: grace)
          await session.close()
        case .signalled(let number):
          child.send(number)
          await child.end(grace: grace)
          await session.close()
        }
        return ending
      }
      return .lost("the wait for its end was given up")
    }
  }

  private func conclude(
    _ ending: Ending, _ child: ChildProcess, _ session: Session, _ grant: Grant
  ) async throws -> Int32 {
    switch ending {
    case .exited(let code): return code
    case .signalled(let number): return 128 + number
    case .lost(let reason):
      throw CommandFailure(
        ExitCode.notHeld,
        "\(scope) was lost: \(reason), so the command was ended. What it wrote"
          + " before then stands; what it tries to write once somebody else holds the scope is refused by its number.")
    }
  }

  private func environment(for grant: Grant) -> [String: String] {
    var environment = ProcessInfo.processInfo.environment
    environment["PORTCULLIS_SCOPE"] = grant.scope
    environment["PORTCULLIS_TOKEN"] = grant.token
    environment["PORTCULLIS_NUMBER"] = String(grant.number)
    environment["PORTCULLIS_INCARNATION"] = String(grant.incarnation)
    environment["PORTCULLIS_HOLDER"] = grant.holder
    environment["PORTCULLIS_ENDPOINTS"] = endpoints.map(\.description).joined(separator: ",")
    environment["PORTCULLIS_GATEWAY"] = gateway.description
    environment.merge(tls.environment) { $1 }
    return environment
  }
}
