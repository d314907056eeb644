// Owns the JSON form of results: names in snake case, keys in order, the schema stated in each file.
//
// It must never read a file of a schema that it does not know as if it did.

import FoundationEssentials
package import Measurement

/// Why a file of results could not be read.
package struct ResultFileError: Error, CustomStringConvertible, Equatable {
  package var description: String

  /// What is quoted from a file goes to a terminal, so it is made plain here.
  package init(_ description: String) {
    self.description = PlainText.line(description)
  }
}

/// A whole result, with its full histograms, indented and with a line break at its end.
package func renderJSON(_ result: BenchResult) throws -> String {
  try indentedJSON(result)
}

/// Any result, indented and with a line break at its end.
func indentedJSON(_ value: some Encodable) throws -> String {
  try encodedJSON(value, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]) + "\n"
}

/// Progress as one line of JSON, without a line break, for where no terminal is.
package func renderProgressJSON(_ progress: BenchProgress) throws -> String {
  try encodedJSON(progress, [.sortedKeys, .withoutEscapingSlashes])
}

/// What a file of results holds.
package enum AnyResult: Sendable {
  case run(BenchResult)
  case limit(LimitResult)
}

/// Reads what ``renderJSON(_:)`` wrote.
package func readJSON(_ text: String) throws(ResultFileError) -> BenchResult {
  guard case .run(let result) = try readAnyJSON(text) else {
    throw ResultFileError("this is a search for the limit; a run of bench without --find-limit is needed")
  }
  return result
}

/// Reads the result of a run or of a search.
package func readAnyJSON(_ text: String) throws(ResultFileError) -> AnyResult {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  decoder.nonConformingFloatDecodingStrategy = .convertFromString(
    positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
  let data = Data(text.utf8)
  do {
    // The schema is looked at by itself first, so that an older or newer file is named as such and not as broken.
    let schema = try decoder.decode(SchemaOnly.self, from: data).schema
    switch schema {
    case BenchResult.currentSchema: return .run(try decoder.decode(BenchResult.self, from: data))
    case LimitResult.currentSchema: return .limit(try decoder.decode(LimitResult.self, from: data))
    default:
      throw ResultFileError(
        "the file has the schema \"\(schema)\"; this version reads \"\(BenchResult.currentSchema)\" and "
          + "\"\(LimitResult.currentSchema)\" only")
    }
  } catch let error as ResultFileError {
    throw error
  } catch {
    throw ResultFileError("this is no result of a bench run: \(error)")
  }
}

private struct SchemaOnly: Decodable {
  var schema: String
}

/// Any value of this room as JSON with names in snake case.
func encodedJSON(_ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting) throws -> String {
  let encoder = JSONEncoder()
  encoder.outputFormatting = formatting
  encoder.keyEncodingStrategy = .convertToSnakeCase
  // A rate of 0/0 must not cost a whole result.
  encoder.nonConformingFloatEncodingStrategy = .convertToString(
    positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
  return String(decoding: try encoder.encode(value), as: UTF8.self)
}
