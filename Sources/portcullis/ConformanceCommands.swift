// `conformance`: the scenarios of the fence, played against real processes.

import ArgumentParser
import Client
import Commands
import Conformance
import Foundation

/// A writer of a scenario, started by it.
struct ConformanceWriterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(commandName: "conformance-writer", shouldDisplay: false)

  @Option var holder: String
  @Option var endpoints: String
  @Option var gateway: String

  func run() async throws {
    let locks = PortcullisLocks(endpoints: try Endpoint.list(parsing: endpoints), holder: holder)
    await WriterProcess(locks: locks, resource: GatewayResource(address: gateway)).run()
  }
}
