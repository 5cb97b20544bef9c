import type { en } from './en'

export type Locale = 'en' | 'hr'

type Reference = typeof en
export type Key = keyof Reference

/** Forms by the categories of `Intl.PluralRules`; `other` stands in for those not given. */
export type Plural = { other: string } & Partial<Record<'one' | 'two' | 'few' | 'many', string>>

export type Catalogue = { [K in Key]: Reference[K] extends string ? string : Plural }

type Placeholders<Text> = Text extends `${string}{${infer Name}}${infer Rest}`
  ? Name | Placeholders<Rest>
  : never

type NamesOf<K extends Key> = Reference[K] extends { other: infer Other }
  ? Placeholders<Other> | 'count'
  : Placeholders<Reference[K]>

/** The values that a message wants: none, or an object with exactly its placeholders. */
export type Values<K extends Key> = [NamesOf<K>] extends [never]
  ? []
  : [values: { [Name in NamesOf<K>]: Name extends 'count' ? number : string | number }]
