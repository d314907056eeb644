// `token`: what a token says, and whether a cluster said it.

import ArgumentParser
import Client
import Commands
import Foundation

struct TokenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token",
    abstract: "Look into a token, or verify one.",
    discussion: """
      Example, inside `portcullis acquire orders -- sh`:
        portcullis token show
        portcullis token verify --scope orders

      Exit codes: 0 good, 1 no token or no key set, 64 wrong arguments, 69 the keys cannot be had, 77 refused.
      """,
    subcommands: [TokenShow.self, TokenVerify.self])
}

struct TokenArgument: ParsableArguments {
  @Argument(help: "The token; - reads it from stdin. Environment: PORTCULLIS_TOKEN.")
  var token: String?

  func text() throws -> String {
    let given = token ?? ConnectionOptions.environment("PORTCULLIS_TOKEN")
    guard let given else {
      throw ValidationError("give a token, or - to read it from stdin, or set PORTCULLIS_TOKEN")
    }
    guard given == "-" else { return given }
    let read = try FileHandle.standardInput.readToEnd() ?? Data()
    return String(decoding: read, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}

struct TokenShow: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Show what a token says, without believing it.",
    discussion: """
      Example:
        portcullis token show eyJhbGciOiJFZERTQSIs… --output json

      Nothing is verified, and the output says so. Whoever decides anything by a token verifies it.
      """)

  @OptionGroup var token: TokenArgument

  @Option(help: "text or json, to stdout.")
  var output = OutputFormat.text

  func run() throws {
    let contents = try TokenContents(try token.text())
    announce(output == .json ? try JSONOutput.pretty(contents) : contents.text)
  }
}

struct TokenVerify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Check a token's signature, form and time.",
    discussion: """
      Examples:
        portcullis token verify "$PORTCULLIS_TOKEN" --endpoints 10.0.0.1:2379
        portcullis token verify - --jwks keys.json --scope orders < token
        portcullis token verify --jwks http://10.0.0.1:2379/.well-known/jwks.json

      The keys are those of --jwks, or those that the core nodes agree on now. A good token proves that its cluster granted
      the scope under this number; it does not prove that nothing newer was granted since. Exit code 77: refused.
      """)

  @OptionGroup var token: TokenArgument

  @Option(help: "A key set (JWKS): a file, or an http:// or https:// address. Default: asks the core nodes.")
  var jwks: String?

  @Option(help: "Refuse a token of another scope.")
  var scope: String?

  @OptionGroup var options: LookOptions

  func run() async throws {
    let text = try token.text()
    let jwks = try await options.keySource(jwks).jwks()
    let report = try TokenReport(verifying: text, jwks: jwks, scope: scope)
    try options.show(report, text: report.text)
  }
}
